"""A labelled image of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shards.raster_settings import RasterSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SceneItem:
    """One labelled image.

    Attributes:
        key: path within the data set, such as "beach/beach_085.jpg".
        path: path of the file.
        label: index of the class.
        rasters: how a raster becomes RGB: as in the images that the weights learned from.
    """

    key: str
    path: Path
    label: int
    rasters: RasterSettings = field(default_factory=RasterSettings)

    def load(self) -> NDArray[np.uint8]:
        """The image, (height, width, 3) uint8.

        Raises:
            RejectedPair: it can't be decoded.
        """
        from shards.decoding.imagery import load_image  # here, because --help imports this file

        return load_image(self.path, self.rasters).rgb
