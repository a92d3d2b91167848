"""The verb `embed`: embeds a folder of unpaired images or sounds, and writes an npz of embeddings and file names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pretrain.model import TwoTower
from retrieval.embedding import load_model, make_folder, save_npz
from retrieval.file_embedding import check_hears_files, embed_image, embed_spectrogram, image_of_file
from retrieval.finite import refuse_not_finite
from retrieval.options import EmbedOptions
from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES, data_files_below, other_files_below
from shards.decoding.audio_decoding import decode_recording
from shards.errors import RejectedPair, UserError
from shards.progress import ProgressLine

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
        UserError: a mistake in the options or the weights, or no file can be decoded.
    """
    options.check()
    model = load_model(options.weights, options.device)
    folder, kind = options.folder, options.kind
    if kind == "images":
        files, embed_file = _files(folder, IMAGE_SUFFIXES, kind), _image_embedder(model, options)
    else:
        files, embed_file = _files(folder, SOUND_SUFFIXES, kind), _sound_embedder(model, options)
    make_folder(options.out.parent)
    embedded = embed_files(folder, files, embed_file, title=f"embedding {kind}")
    if not embedded.names:
        raise UserError(
            f"none of the {len(files)} {kind} in {folder} could be decoded; first error: {_first(embedded)}"
        )
    provenance = {"weights": str(options.weights), "folder": str(folder), "kind": kind, "crops": options.crops}
    embedded.save(options.out, provenance)
    suffixes = IMAGE_SUFFIXES if kind == "images" else SOUND_SUFFIXES
    others = [path.relative_to(folder).as_posix() for path in other_files_below(folder, suffixes)]
    _print_result(embedded, kind, options.out, others)
    return embedded


def embed_files(
    folder: Path, files: list[Path], embed_file: Callable[[Path], NDArray[np.float32]], *, title: str
) -> EmbeddedFolder:
    """Embeds the files one by one; those that raise `RejectedPair` are listed as rejected.

    Raises:
        UserError: an embedding is not finite.
    """
    names: list[str] = []
    rows: list[NDArray[np.float32]] = []
    rejected: dict[str, tuple[str, str]] = {}
    with ProgressLine(title, len(files)) as progress:
        for path in files:
            name = path.relative_to(folder).as_posix()
            try:
                rows.append(embed_file(path))
                names.append(name)
            except RejectedPair as rejection:
                rejected[name] = (rejection.reason, rejection.detail)
            except OSError as error:
                rejected[name] = ("unreadable file", error.strerror or str(error))
            progress.advance()
    embeddings = np.stack(rows) if rows else np.empty((0, 0), np.float32)
    refuse_not_finite(names, embeddings)
    return EmbeddedFolder(names, embeddings, rejected)


def _image_embedder(model: TwoTower, options: EmbedOptions) -> Callable[[Path], NDArray[np.float32]]:
    rasters = model.config.rasters.with_bands(options.bands)
    return lambda path: embed_image(model, image_of_file(path, rasters))


def _sound_embedder(model: TwoTower, options: EmbedOptions) -> Callable[[Path], NDArray[np.float32]]:
    check_hears_files(model, options.weights)

    def embed_file(path: Path) -> NDArray[np.float32]:
        settings = model.config.spectrogram
        sound = decode_recording(path, settings, max_seconds=options.max_seconds, with_preview=False)
        return embed_spectrogram(model, sound.spectrogram, options.crops)

    return embed_file


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
