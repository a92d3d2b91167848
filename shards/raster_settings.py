"""How image files become the stored RGB square: bands, scale and part, as manifests and models' configs state it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from shards.records import typed

ScaleBy = Literal["range", "corpus", "chip"]

MAX_WHOLE_SIDE = 512
"""Side in pixels up to which the central square of an image is stored whole; of larger ones, the central half."""


@dataclass(frozen=True)
class RasterSettings:
    """How a raster becomes 8-bit RGB, and which part of an image is stored.

    The defaults are those of shard sets and models that state none.

    Attributes:
        bands: bands for red, green and blue, counted from 1.
        scale_range: (low, high), the values that become 0 and 255; None: each image's own percentiles.
        scale_by: where the range comes from. "range": it was given, and holds for 8-bit rasters too if it ends at 255
            or below; "corpus": percentiles over the corpus, None if none of its images needed one; "chip": percentiles
            of each image. With the last two, 8-bit rasters are kept as they are.
        max_whole_side: central squares of up to this side (pixels) are stored whole, of larger ones the central half.
        rotated_resampling: how rasters that are turned by an angle are resampled to north up; "bilinear".

    Raises:
        ValueError: a value is out of range, or the range does not go with `scale_by`.
    """

    bands: tuple[int, int, int] = (1, 2, 3)
    scale_range: tuple[float, float] | None = None
    scale_by: ScaleBy = "chip"
    max_whole_side: int = MAX_WHOLE_SIDE
    rotated_resampling: str = "bilinear"

    def __post_init__(self) -> None:
        if len(self.bands) != 3 or min(self.bands) < 1:
            raise ValueError(f"bands must be three numbers counted from 1, got {self.bands}")
        if self.scale_range is not None and not _is_range(self.scale_range):
            raise ValueError(f"scale_range must be (low, high) with low < high, got {self.scale_range}")
        if self.scale_by not in ("range", "corpus", "chip"):
            raise ValueError(f"scale_by must be range, corpus or chip, got {self.scale_by!r}")
        if (self.scale_by == "range" and self.scale_range is None) or (self.scale_by == "chip" and self.scale_range):
            raise ValueError(f"scale_by {self.scale_by} does not go with the scale_range {self.scale_range}")
        if self.rotated_resampling != "bilinear":
            raise ValueError(f"rotated_resampling must be bilinear, got {self.rotated_resampling!r}")

    @property
    def maps_8_bits(self) -> bool:
        """Whether values of 8-bit rasters are mapped too; a range above 255 is one of another type of values."""
        return self.scale_by == "range" and self.scale_range is not None and self.scale_range[1] <= 255

    @property
    def learned(self) -> RasterSettings:
        """The settings as a model that learned from the set applies them to files.

        A corpus without a raster of more than 8 bits has given no range: such a raster is then scaled by itself.
        """
        is_open = self.scale_by == "corpus" and self.scale_range is None
        return dataclasses.replace(self, scale_by="chip") if is_open else self

    def with_bands(self, bands: tuple[int, int, int] | None) -> RasterSettings:
        """The settings with other bands, for rasters that hold theirs in another order; None changes nothing."""
        return self if bands is None else dataclasses.replace(self, bands=bands)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON values, for a manifest or a model's config."""
        values = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RasterSettings:
        """Restores settings that `to_dict` wrote.

        Raises:
            UserError: they are not such settings.
        """
        return typed(cls, values)

    def describe(self) -> str:
        """A phrase for messages: "bands 4, 3, 2, scaled from 312 to 4120"."""
        if self.scale_range is None:
            scale = "each image scaled by its own percentiles"
        else:
            scale = "scaled from {:g} to {:g}".format(*self.scale_range)
        return f"bands {', '.join(map(str, self.bands))}, {scale}"


def _is_range(values: tuple[float, ...]) -> bool:
    return len(values) == 2 and all(math.isfinite(value) for value in values) and values[0] < values[1]
