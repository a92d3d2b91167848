"""The verb `embed`: embeds a folder of unpaired images or sounds, and writes an npz of embeddings and file names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.model import TwoTower
from pretrain.precision import autocast, resolved
from pretrain.training.embedding import embed_images, embed_sounds
from retrieval.embedding import hear_as_learned, load_model, make_folder, save_npz
from retrieval.file_embedding import check_hears_files
from retrieval.file_inputs import ImageInput, Inputs, SoundInput, read_inputs
from retrieval.finite import refuse_not_finite
from retrieval.options import EmbedOptions
from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES, data_files_below, other_files_below
from shards.errors import UserError
from shards.progress import ProgressLine
from shards.schema import SpectrogramSettings

NAMED_REJECTIONS = 10
"""Number of undecodable files that are printed; the npz lists all."""


@dataclass(frozen=True)
class EmbeddedFolder:
    """The files of a folder with their embeddings.

    Attributes:
        names: paths relative to the folder, sorted.
        embeddings: (n, d) float32, one row per name.
        rejected: undecodable files: name → (reason, detail).
    """

    names: list[str]
    embeddings: NDArray[np.float32]
    rejected: dict[str, tuple[str, str]]

    def save(self, path: Path, provenance: dict[str, object]) -> None:
        """Writes `path` (npz): embeddings (n, d), names (n,), rejected_names and rejected_reasons, provenance."""
        save_npz(
            path,
            embeddings=self.embeddings,
            names=np.array(self.names, dtype=np.str_),
            rejected_names=np.array(list(self.rejected), dtype=np.str_),
            rejected_reasons=np.array([": ".join(reason) for reason in self.rejected.values()], dtype=np.str_),
            provenance=np.array(json.dumps(provenance, ensure_ascii=False)),
        )


def embed(options: EmbedOptions) -> EmbeddedFolder:
    """Runs `embed`; files that can't be decoded are counted and listed.

    Raises:
        UserError: a mistake in the options or the weights, no file can be decoded, or an embedding is not finite.
    """
    options.check()
    model = load_model(options.weights, options.device)
    folder, kind, config = options.folder, options.kind, model.config
    read: ImageInput | SoundInput
    encode: Callable[[TwoTower, list[Inputs]], NDArray[np.float32]]
    if kind == "images":
        read, encode = ImageInput(config.rasters.with_bands(options.bands), config.image_size), _encode_images
    else:
        spectrogram = _spectrogram(model, options)
        read = SoundInput(spectrogram, config.num_frames, options.crops, options.max_seconds)
        encode = _encode_sounds
    files = _files(folder, IMAGE_SUFFIXES if kind == "images" else SOUND_SUFFIXES, kind)
    make_folder(options.out.parent)
    precision = resolved(options.precision)
    with torch.inference_mode(), autocast(model.image_mean.device, precision):
        embedded = embed_files(
            folder,
            files,
            read,
            lambda inputs: encode(model, inputs),
            batch_size=options.batch_size,
            title=f"embedding {kind}",
        )
    if not embedded.names:
        raise UserError(
            f"none of the {len(files)} {kind} in {folder} could be decoded; first error: {_first(embedded)}"
        )
    provenance = {
        "weights": str(options.weights),
        "folder": str(folder),
        "kind": kind,
        "crops": options.crops,
        "precision": precision,
    }
    embedded.save(options.out, provenance)
    suffixes = IMAGE_SUFFIXES if kind == "images" else SOUND_SUFFIXES
    others = [path.relative_to(folder).as_posix() for path in other_files_below(folder, suffixes)]
    _print_result(embedded, kind, options.out, others)
    return embedded


def _spectrogram(model: TwoTower, options: EmbedOptions) -> SpectrogramSettings:
    """The settings of the spectrograms: the model's, or under `force` Earshot's own where the model's are unknown."""
    if not options.force or model.config.spectrogram.is_published:
        check_hears_files(model, options.weights)
        return model.config.spectrogram
    hear_as_learned(model, SpectrogramSettings(), str(options.folder))
    return SpectrogramSettings()


def embed_files(
    folder: Path,
    files: list[Path],
    read: Callable[[Path], Inputs],
    encode: Callable[[list[Inputs]], NDArray[np.float32]],
    *,
    batch_size: int,
    title: str,
) -> EmbeddedFolder:
    """Embeds files in batches; those without inputs are listed as rejected.

    Args:
        folder: of the files.
        files: the files.
        read: makes the inputs of a file.
        encode: embeds the inputs of up to `batch_size` files: (n, d).
        batch_size: files that are embedded at once.
        title: of the progress.

    Raises:
        UserError: an embedding is not finite, or a process that decoded files ended.
    """
    names: list[str] = []
    rows: list[NDArray[np.float32]] = []
    rejected: dict[str, tuple[str, str]] = {}
    batch: list[Inputs] = []
    with ProgressLine(title, len(files)) as progress:
        for path, attempt in zip(files, read_inputs(files, read), strict=True):
            name = path.relative_to(folder).as_posix()
            if isinstance(attempt, tuple):
                rejected[name] = attempt
            else:
                names.append(name)
                batch.append(attempt)
            if len(batch) == batch_size:
                rows.append(encode(batch))
                batch = []
            progress.advance()
        if batch:
            rows.append(encode(batch))
    embeddings = np.concatenate(rows) if rows else np.empty((0, 0), np.float32)
    refuse_not_finite(names, embeddings)
    return EmbeddedFolder(names, embeddings, rejected)


def _encode_images(model: TwoTower, images: list[Inputs]) -> NDArray[np.float32]:
    return embed_images(model, np.concatenate(images))


def _encode_sounds(model: TwoTower, sounds: list[Inputs]) -> NDArray[np.float32]:
    return embed_sounds(model, np.concatenate(sounds), list(map(len, sounds)))


def _files(folder: Path, suffixes: tuple[str, ...], kind: str) -> list[Path]:
    files = data_files_below(folder, suffixes)
    if not files:
        raise UserError(f"no {kind} in {folder}: none of its files ends in {', '.join(suffixes)}")
    return files


def _first(embedded: EmbeddedFolder) -> str:
    return ": ".join(next(iter(embedded.rejected.values())))


def _print_result(embedded: EmbeddedFolder, kind: str, out: Path, others: list[str]) -> None:
    print(f"{len(embedded.names)} {kind} embedded: {out}")
    if embedded.rejected:
        counts = Counter(reason for reason, _ in embedded.rejected.values())
        print(f"{len(embedded.rejected)} left out: " + ", ".join(f"{n} {reason}" for reason, n in counts.most_common()))
        for reason, detail in list(embedded.rejected.values())[:NAMED_REJECTIONS]:
            print(f"  {reason}: {detail}")
    if others:
        more = ", …" if len(others) > NAMED_REJECTIONS else ""
        print(f"{len(others)} other files, by their suffix no {kind}: {', '.join(others[:NAMED_REJECTIONS])}{more}")
