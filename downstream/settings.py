"""The settings of every downstream run; each kind of benchmark adds its own in a subclass in its `kind.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import override

from pretrain.encoders import ENCODERS
from pretrain.settings import training as run_settings
from pretrain.settings.files import flatten
from pretrain.settings.rules import Count, CountOrZero, Fraction, OneOf, Rule
from pretrain.settings.training import OptimizerSettings, RunSettings


@dataclass(frozen=True)
class DownstreamSettings(RunSettings):
    """Settings of a benchmark. The defaults are SoundingEarth's, section V-A: Adam 1e-3, 5 epochs, no schedule."""

    benchmark: str = "folder"
    """The benchmark, a name in BENCHMARKS; the first word of the command line."""
    root: Path = Path("data")
    """Folder of the benchmark's data, as unpacked."""
    out: Path = Path("runs/downstream")
    """Folder to write results to; it must not hold a run yet."""
    weights: str = "random"
    """random, imagenet, pretrained (those that timm publishes for --backbone timm:NAME), a run folder, a model folder,
    or a file of an encoder's weights (.safetensors, .pth)."""
    backbone: Annotated[str, OneOf(ENCODERS, "auto")] = "auto"
    """The encoder of random, imagenet and pretrained weights and of a file that does not name it, a name in ENCODERS
    or timm:NAME (auto: resnet18, under advance-transfer resnet101, under sound-events resnet50)."""
    imagenet_file: Path | None = None
    """A file with torchvision's ImageNet weights, where they are not in torch's cache and can't be downloaded."""
    protocol: str = "paper"
    """How the benchmark is run: paper, as published, or another of its protocols."""
    allow_partial: bool = False
    """Run although classes or images of the official release are missing; the results say so."""
    max_corrupt: Fraction = 0.01
    """Largest share of unreadable images or sounds; they are named and counted."""
    image_size: Annotated[int, Rule(lambda side: side == 0 or side >= 32, "0 or >= 32 pixels")] = 0
    """Side of the network's input in pixels (of a land-cover benchmark's training patches); 0: the benchmark's own."""
    workers: CountOrZero = 2
    """Loader processes of each training process; 0 reads in the training process itself."""
    epochs: Count = 5
    """Passes over the training part."""
    batch_size: Annotated[int, Field(ge=0, description="0 is the benchmark's own")] = 0
    """The global batch; 0: the benchmark's own."""
    optimizer: OptimizerSettings = field(
        default_factory=lambda: OptimizerSettings(learning_rate=1e-3, warmup_epochs=0.0, final_fraction=1.0)
    )

    @property
    def needs_known_spectrograms(self) -> bool:
        """Whether the weights must have been trained on spectrograms like those that the benchmark computes."""
        return False

    @override
    def check(self) -> None:
        super().check()
        if ENCODERS.is_outside_code(self.backbone) and self.backbone != "auto":
            # The user's own settings name it, so weights that are loaded may name it, too.
            ENCODERS.allow(self.backbone)


@dataclass(frozen=True)
class SeededSettings(DownstreamSettings):
    """A benchmark that is run once for each of several seeds."""

    num_seeds: Count = 5
    """Number of runs or splits, by the seeds from `seed` on; results are their mean and standard deviation."""


@dataclass(frozen=True)
class BandSettings(DownstreamSettings):
    """A benchmark whose images may be rasters."""

    bands: Annotated[
        tuple[int, int, int] | None,
        Rule(lambda bands: bands is None or min(bands) >= 1, ">= 1, counted from 1"),
    ] = None
    """Bands of rasters for red, green and blue, in place of those that the weights learned from."""


CHANGEABLE_ON_RESUME = run_settings.CHANGEABLE_ON_RESUME | {"workers", "explain"}
"""Settings that may change on resume, besides the number of processes, which the launcher sets."""


def how_trained(settings: DownstreamSettings) -> dict[str, Any]:
    """Settings that affect training on the same data and epochs, by dotted name; recorded in results."""
    parts = ("precision", "optimizer.", "validation.")
    of_memory = ("optimizer.accumulation", "optimizer.chunk_size")
    return {
        name: value for name, value in flatten(settings).items() if name.startswith(parts) and name not in of_memory
    }
