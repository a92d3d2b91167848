"""Every setting of a downstream run: its type, its meaning, its default and its rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from downstream.tau.settings import TauSettings
from downstream.transfer.settings import TransferSettings
from pretrain.settings import training as run_settings
from pretrain.settings.files import flatten, require
from pretrain.settings.training import OptimizerSettings, RunSettings, check_run_settings
from shards.errors import UserError

Protocol = Literal["paper", "tuned", "linear", "knn", "few-shot"]
HeadOn = Literal["auto", "embedding", "trunk"]


@dataclass(frozen=True)
class DownstreamSettings(RunSettings):
    """A benchmark on some weights."""

    benchmark: str = "folder"
    """The benchmark, a name in BENCHMARKS; the first word of the command line."""
    root: Path = Path("data")
    """The benchmark's folder, as it is when unpacked."""
    out: Path = Path("runs/downstream")
    """The folder to write results to; it must not hold any yet."""
    weights: str = "random"
    """random, imagenet, a run folder, a model folder, or a file of ResNet weights (.safetensors, .pth)."""
    backbone: Literal["auto", "resnet18", "resnet50", "resnet101"] = "auto"
    """The encoder of random and imagenet weights (auto: resnet18, under advance-transfer resnet101, under sound-events
    resnet50); other weights bring their own."""
    imagenet_file: Path | None = None
    """A file with torchvision's ImageNet weights, where they are not in torch's cache and can't be fetched."""
    protocol: Protocol = "paper"
    """paper: as published; tuned: a full recipe on usual splits; linear, knn, few-shot: on frozen features."""
    head_on: HeadOn = "auto"
    """What the head sits on: the embedding or the encoder's features (trunk); auto: under paper the embedding where
    the weights have one, else the features."""
    train_fraction: float = 0.0
    """Share of each class that trains (the rest tests); 0: the protocol's own split."""
    num_seeds: int = 5
    """tuned, linear, knn, few-shot, advance-transfer and sound-events draw so many splits, by the seeds from `seed` on,
    and report mean and sd; all else runs once, but for advance, whose five draws are its authors'."""
    allow_partial: bool = False
    """Go on where classes or images of the official release are missing; the results say so."""
    max_corrupt: float = 0.01
    """Largest share of images that may be unreadable; they are named and counted."""
    image_size: int = 0
    """Side of the network's input in pixels (of a land-cover benchmark's training patches); 0: the benchmark's own."""
    patch_stride: int = 0
    """Pixels from one training patch of a land-cover tile to the next; 0: the benchmark's own."""
    val_ids: Path | None = None
    """A file with the ids of a land-cover benchmark's validation tiles, one a line, in place of its rule."""
    workers: int = 2
    """Loader processes of each training process; 0 reads in the training process itself."""
    split: Literal["stratified", "grouped"] = "stratified"
    """How pairs of image and sound are divided: stratified, by clip, as SoundingEarth's authors did; grouped, by
    location, so that no recording is in two parts."""
    force: bool = False
    """Give a sound tower spectrograms of another kind than it was trained on; under advance-transfer, take a teacher
    that learned from test sounds."""
    explain: int = 0
    """Draw class activation maps for so many test images of a scene benchmark."""
    transfer: TransferSettings = field(default_factory=TransferSettings)
    tau: TauSettings = field(default_factory=TauSettings)
    epochs: int = 5
    """Times that the training part is gone through."""
    batch_size: int = 0
    """The global batch; 0: the benchmark's own."""
    optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(learning_rate=1e-3, warmup_epochs=0.0, final_fraction=1.0)
    )


CHANGEABLE_ON_RESUME = run_settings.CHANGEABLE_ON_RESUME | {"workers", "explain"}
"""Settings that a resumed run may change; the number of processes is the launcher's."""


def how_trained(settings: DownstreamSettings) -> dict[str, Any]:
    """What decides how much is learned from the same data in the same epochs, by dotted name; results keep it."""
    parts = ("precision", "optimizer.", "validation.")
    of_memory = ("optimizer.accumulation", "optimizer.chunk_size")
    return {
        name: value for name, value in flatten(settings).items() if name.startswith(parts) and name not in of_memory
    }


def check_settings(settings: DownstreamSettings) -> None:
    """Checks every rule that can be known before data is opened.

    Raises:
        UserError: names the setting, its value and its rule.
    """
    check_run_settings(settings)
    require(settings, "batch_size", lambda value: value >= 0, ">= 0 (0 is the benchmark's own)")
    require(settings, "image_size", lambda value: value == 0 or value >= 32, "0 or >= 32 pixels")
    require(settings, "train_fraction", lambda value: 0 <= value < 1, "in [0, 1)")
    require(settings, "max_corrupt", lambda value: 0 <= value <= 1, "in [0, 1]")
    require(settings, "num_seeds", lambda value: value >= 1, ">= 1")
    for name in ("workers", "explain", "patch_stride"):
        require(settings, name, lambda value: value >= 0, ">= 0")
    if settings.protocol != "paper" and settings.head_on == "embedding":
        raise UserError(
            f"head_on embedding goes with protocol paper, got {settings.protocol}, which compares weights on "
            "their trunks"
        )
    if settings.protocol == "few-shot" and settings.train_fraction:
        raise UserError(f"train_fraction has no effect under few-shot, got {settings.train_fraction}; leave it out")
