"""A network that tells sound events: torchvision's ResNet on a spectrogram, and its weights on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from downstream.transfer.heard_sounds import MEL_BANDS
from pretrain.encoders.building import build_encoder
from pretrain.encoders.encoder import Encoder
from pretrain.model_files import CONFIG_NAME, WEIGHTS_NAME
from pretrain.weights.encoder_in_file import find_encoder
from pretrain.weights.files import read_weights
from pretrain.weights.model_folder import MODEL_FOLDER
from shards.errors import UserError

STEM, HEAD = "conv1.weight", "fc.weight"
HEARD_NAME = "trained_on.txt"
"""Beside the weights: the sounds that a tagger of ours was trained on, one a line, as `sha256sum` lists files."""


class SpectrogramInput(nn.Module):
    """Spectrogram bytes → input of a sound encoder: each band with mean 0 and standard deviation 1.

    Args:
        mean, std: of each band's bytes, (bands,).
    """

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, sounds: Tensor) -> Tensor:
        """(n, frames, bands) uint8 → (n, 1, frames, bands) float32."""
        return ((sounds.float() - self.mean) / self.std)[:, None]


class EventTagger(nn.Module):
    """A sound encoder and one linear layer to sound events.

    Args:
        backbone: a name in `ENCODERS`.
        num_events: outputs.
        mean, std: of each band's bytes, (bands,).
        stride: of the first convolution.
    """

    def __init__(self, backbone: str, num_events: int, mean: Tensor, std: Tensor, *, stride: int = 2) -> None:
        super().__init__()
        self.input = SpectrogramInput(mean, std)
        # "trunk" is part of the weight names in every checkpoint.
        self.trunk = sound_encoder(backbone, stride)
        self.fc = nn.Linear(self.trunk.num_features, num_events)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A batch's "sound", (n, frames, bands) uint8 → "events", pre-activations (n, events)."""
        return {"events": self.fc(self.trunk(self.input(batch["sound"])))}


def sound_encoder(backbone: str, stride: int) -> Encoder:
    """An untrained encoder for one channel.

    Args:
        backbone: a name in `ENCODERS`.
        stride: of its first convolution.

    Raises:
        UserError: it is no ResNet, as whose file taggers are exchanged.
    """
    encoder = build_encoder(backbone, channels=1)
    stem = getattr(encoder, "conv1", None)
    if not isinstance(stem, nn.Conv2d):
        raise UserError(f"sound events are told by a ResNet, such as resnet50, got {backbone}")
    stem.stride = (stride, stride)
    return encoder


@dataclass(frozen=True)
class EventTeacher:
    """Weights of an event tagger, as they were found.

    Attributes:
        backbone: of the encoder.
        state: of the whole, by torchvision's names, for one channel.
        report: a sentence on what was taken from where.
        trained_on: fingerprints of the sounds that it was trained on; empty where that is not known.
        stride: of the first convolution; 0 where that is not known.
        bands: mean and standard deviation of each band's bytes, by which it was trained to hear; None: not known.
    """

    backbone: str
    state: dict[str, Tensor]
    report: str
    trained_on: frozenset[str]
    stride: Literal[0, 1, 2]
    bands: tuple[Tensor, Tensor] | None

    @property
    def num_events(self) -> int:
        """Outputs."""
        return len(self.state[HEAD])

    def load_encoder(self, encoder: nn.Module) -> None:
        """Copies its encoder's weights."""
        # Not strict, for some files leave out how many batches were counted; all else was checked when it was read.
        encoder.load_state_dict(
            {name: value for name, value in self.state.items() if not name.startswith("fc.")}, strict=False
        )

    def load_head(self, head: nn.Linear) -> None:
        """Copies the weights of its layer from features to events."""
        head.load_state_dict({name: self.state[f"fc.{name}"] for name in ("weight", "bias")})

    def tagger(self, mean: Tensor, std: Tensor, *, stride: int) -> EventTagger:
        """The frozen network N_a0, in evaluation mode.

        Args:
            mean, std: of each band's bytes, by which sounds are normalised.
            stride: of the first convolution.
        """
        tagger = EventTagger(self.backbone, self.num_events, mean, std, stride=stride)
        self.load_encoder(tagger.trunk)
        self.load_head(tagger.fc)
        return tagger.eval().requires_grad_(False)


def torchvision_state(tagger: EventTagger) -> dict[str, Tensor]:
    """A tagger's weights by torchvision's names, as a file of a ResNet with a classifier has them."""
    state = {f"fc.{name}": value for name, value in tagger.fc.state_dict().items()}
    return {**tagger.trunk.state_dict(), **state}


def tagger_record(tagger: EventTagger, backbone: str, events: Sequence[str]) -> dict[str, Any]:
    """Contents of a tagger's `config.json`."""
    return {
        "backbone": backbone,
        "events": list(events),
        "stride": tagger.trunk.get_submodule("conv1").stride[0],  # type: ignore[index]  # a convolution's
        "band_mean": tagger.input.mean.tolist(),
        "band_std": tagger.input.std.tolist(),
    }


def read_teacher(path: Path, *, seed: int = 0, num_events: int = 0) -> EventTeacher:
    """The tagger in a file, or in the folder that sound-events wrote.

    Args:
        path: the file of a torchvision-shaped ResNet with a classifier `fc` and one input channel (or three, whose
            weights are added up); or the --out of sound-events, or the model folder in it.
        seed: of the run that asks: of taggers of several seeds it gets its own seed's; a single one is for all.
        num_events: outputs that it must have; 0: any.

    Raises:
        UserError: nothing there, not weights, or of another shape.
    """
    file = _file_of(path, seed)
    whole = read_weights(file)
    try:
        found = find_encoder(file, whole, "auto")
    except UserError as error:
        raise UserError(f"the teacher must hold one ResNet with torchvision's names: {error}") from error
    backbone, state = found.name, dict(found.state)
    stem = state.get(STEM)
    if stem is not None and stem.ndim == 4 and stem.shape[1] == 3:
        state[STEM] = stem.sum(1, keepdim=True)
    outputs = _check_shapes(file, backbone, state)
    if num_events and outputs != num_events:
        raise UserError(f"transfer.num_events is {num_events}, the teacher in {file} has {outputs}; omit it, or give 0")
    kept = {name: value for name, value in state.items() if name in _expected(backbone, outputs)}
    report = f"{backbone} for {outputs} sound events from {file}"
    return EventTeacher(backbone, kept, report, _learned_from(file), *_way_of_hearing(file))


def _learned_from(file: Path) -> frozenset[str]:
    """Fingerprints of the sounds named beside a tagger's weights."""
    heard = file.parent / HEARD_NAME
    lines = heard.read_text(encoding="utf-8").splitlines() if heard.is_file() else []
    found = frozenset(line.partition("  ")[0] for line in lines)
    if any(len(name) != 64 for name in found):
        raise UserError(f"{heard} must begin each line with the SHA-256 of a sound; train this teacher again")
    return found


def _way_of_hearing(file: Path) -> tuple[Literal[0, 1, 2], tuple[Tensor, Tensor] | None]:
    """Stride and band statistics by the `config.json` beside a tagger's weights; 0 and None where it has none."""
    config = file.parent / CONFIG_NAME
    try:
        record = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        stride, bands = record.get("stride", 0), None
        if "band_mean" in record:
            bands = torch.tensor(record["band_mean"]), torch.tensor(record["band_std"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{config} can't be read as a tagger's: {error!r}; remove it, or train the teacher again"
        ) from None
    if stride not in (0, 1, 2) or (bands and not bands[0].shape == bands[1].shape == (MEL_BANDS,)):
        raise UserError(f"{config}: stride must be 1 or 2, and band_mean and band_std of {MEL_BANDS} numbers each")
    return stride, bands


def _file_of(path: Path, seed: int) -> Path:
    if path.is_file():
        return path
    for folder in (path / f"seed-{seed}" / MODEL_FOLDER, path / MODEL_FOLDER, path):
        if (folder / WEIGHTS_NAME).is_file():
            return folder / WEIGHTS_NAME
    of_seeds = sorted(path.glob(f"seed-*/{MODEL_FOLDER}/{WEIGHTS_NAME}"))
    if len(of_seeds) == 1:
        return of_seeds[0]
    if of_seeds:
        found = ", ".join(file.parents[1].name for file in of_seeds)
        raise UserError(f"teacher {path} has {found} and none for seed {seed}; train it too, or name one of them")
    what = f"a folder without {MODEL_FOLDER}/{WEIGHTS_NAME}" if path.is_dir() else "no such file or folder"
    raise UserError(f"no teacher at {path}: {what}; give the --out of sound-events, or a file of a sound ResNet")


def _expected(backbone: str, num_events: int) -> dict[str, Tensor]:
    """A tagger's tensors by name, without their values."""
    with torch.device("meta"):
        return torchvision_state(EventTagger(backbone, num_events, torch.zeros(1), torch.ones(1)))


def _check_shapes(file: Path, backbone: str, state: Mapping[str, Tensor]) -> int:
    """Refuses weights that are not a ResNet's with a classifier; its number of outputs."""
    head = state.get(HEAD)
    if head is None or head.ndim != 2:
        raise UserError(f"teacher {file} has no classifier {HEAD} of shape (events, features); it can't tell events")
    for name, value in _expected(backbone, len(head)).items():
        if name not in state and not name.endswith("num_batches_tracked"):
            raise UserError(f"teacher {file} lacks {name}, a {backbone} with a classifier has it; give a whole one")
        if name in state and state[name].shape != value.shape:
            raise UserError(
                f"teacher {file}: {name} has the shape {tuple(state[name].shape)}, in a {backbone} that hears it is "
                f"{tuple(value.shape)}; give weights of a network for spectrograms"
            )
    return len(head)
