"""Checks that saved towers load unchanged: embeddings of the same inputs are compared bit by bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from shards.errors import UserError
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet

NUM_FIXED = 4
NUM_REAL = 8


@dataclass(frozen=True)
class Probe:
    """Inputs that towers are compared on.

    Attributes:
        name: what the inputs are, for messages.
        images: (n, 3, s, s) uint8.
        sounds: (n, 1, mel bands, frames) uint8.
    """

    name: str
    images: Tensor
    sounds: Tensor


def fixed_probe(config: TwoTowerConfig) -> Probe:
    """Returns random bytes in the towers' input shapes, the same on every call."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randint(0, 256, (NUM_FIXED, *shape), generator=generator, dtype=torch.uint8)

    images = noise(3, config.image_size, config.image_size)
    return Probe("random inputs", images, noise(1, config.spectrogram.mel_bands, config.num_frames))


def real_probe(config: TwoTowerConfig, shard_set: ShardSet) -> Probe:
    """Returns the first pairs of the validation split, prepared as for evaluation, with one sound crop each.

    Raises:
        UserError: there are no validation pairs, or they can't be read.
    """
    shard_set.check_files(VALIDATION_SPLIT)
    count = min(NUM_REAL, shard_set.num_samples(VALIDATION_SPLIT))
    if not count:
        raise UserError("the shard set has no validation pairs")
    samples = [shard_set.sample(VALIDATION_SPLIT, number) for number in range(count)]
    images = [evaluation_image(sample.image(), config.image_size) for sample in samples]
    frames = config.num_frames
    sounds = [sample.frames(spread_crop_starts(sample.num_frames, frames, 1)[0], frames)[None] for sample in samples]
    return Probe("validation pairs", torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(sounds)))


@torch.inference_mode()
def check_towers(folder: Path, towers: TwoTower, probes: list[Probe]) -> None:
    """Checks that the towers in a folder give the same embeddings as those in memory.

    Args:
        folder: a model folder.
        towers: the towers that were saved there, in evaluation mode, on the CPU.
        probes: the inputs to embed.

    Raises:
        UserError: the folder can't be loaded, or an embedding differs in any bit.
    """
    again = TwoTower.from_pretrained(folder)
    for probe in probes:
        for what, ours, theirs in (
            ("image", towers.encode_image(probe.images), again.encode_image(probe.images)),
            ("sound", towers.encode_sound(probe.sounds), again.encode_sound(probe.sounds)),
        ):
            require_same(ours, theirs, f"{what} embeddings of {probe.name} by TwoTower.from_pretrained")


def require_close(ours: Tensor, theirs: Tensor, tolerance: float, what: str) -> float:
    """Checks that values are finite and differ by no more than a fraction of the largest of them.

    Returns:
        The largest difference as that fraction.

    Raises:
        UserError: they differ by more.
    """
    _require_finite(ours, what)
    largest = float(ours.abs().max())
    most = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("nan")
    if not most <= tolerance * largest:
        raise UserError(
            f"the {what} differ from those of the weights in memory, by up to {most:.2g}, where the largest is "
            f"{largest:.2g} and the tolerance {tolerance:g} of it, so nothing was written"
        )
    return most / largest if largest else 0.0


def _require_finite(ours: Tensor, what: str) -> None:
    if not torch.isfinite(ours).all():
        raise UserError(f"the {what} are not finite: the training has diverged, so nothing was written")


def require_same(ours: Tensor, theirs: Tensor, what: str) -> None:
    """Checks that values are finite and equal in every bit.

    Raises:
        UserError: they are not.
    """
    _require_finite(ours, what)
    if not torch.equal(ours, theirs):
        most = (ours - theirs).abs().max().item() if ours.shape == theirs.shape else float("nan")
        raise UserError(
            f"the {what} differ from those of the weights in memory, by up to {most:.2g}, so nothing was "
            "written; this is a disk or memory fault, or a bug in Earshot"
        )
