"""Land-cover mapping: its settings, and how SoundingEarth's authors ran it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import override

from downstream.kinds import Kind
from downstream.landcover import tables
from downstream.protocols import BenchmarkProtocol
from downstream.settings import BandSettings
from pretrain.settings.rules import CountOrZero, Rule
from shards.errors import UserError

MULTIPLE = 16
"""Patches and windows have sides that are multiples of the network's stride."""

WINDOW_RULE = f"0 or a multiple of {MULTIPLE} >= 32"


@dataclass(frozen=True)
class LandCoverSettings(BandSettings):
    """DeepLabv3+ on some weights."""

    patch_stride: CountOrZero = 0
    """Pixels from one training patch of a tile to the next; 0: the benchmark's own."""
    window: Annotated[int, Rule(lambda side: side == 0 or (side >= 32 and side % MULTIPLE == 0), WINDOW_RULE)] = 0
    """Side of the overlapping windows in which tiles are mapped, in pixels; 0: whole tiles, as the authors did, which
    takes more memory."""
    val_ids: Path | None = None
    """A file with the ids of the validation tiles, one a line, in place of the benchmark's rule."""

    @override
    def check(self) -> None:
        super().check()
        if self.image_size % MULTIPLE:
            raise UserError(f"image_size must be a multiple of {MULTIPLE} for {self.benchmark}, got {self.image_size}")


LANDCOVER = Kind(
    name="landcover",
    title="land-cover mapping",
    protocols=(
        BenchmarkProtocol(
            LandCoverSettings(),
            "as SoundingEarth published it: DeepLabv3+, Adam 1e-3, 5 epochs, no augmentation, whole tiles",
            can_train_further=True,
        ),
    ),
    reporting=tables.LAND_COVER,
    checker="downstream.landcover.running:check_landcover",
    runner="downstream.landcover.running:run_landcover",
)
