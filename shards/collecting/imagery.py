"""The interface of imagery: a picture of a square on the map, and the sources by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from shards.collecting.mercator import Square
from shards.registry import Registry

if TYPE_CHECKING:
    from shards.collecting.tile_cache import TileCache
    from shards.collecting.tiles_options import TilesOptions
    from shards.collecting.web import Web

Pixels = npt.NDArray[Any]

IMAGERY: Registry[type[ImagerySource]] = Registry(
    "imagery",
    {
        "xyz": "shards.collecting.tiled_maps:XyzSource",
        "wmts": "shards.collecting.wmts:WmtsSource",
        "wms": "shards.collecting.wms:WmsSource",
        "cog": "shards.collecting.cog:CogSource",
        "stac": "shards.collecting.stac:StacSource",
    },
)
"""To add one, write an `ImagerySource` in a file of its own, and add a line here and an option of its name."""


class NoImagery(Exception):
    """The source shows nothing of a place; the message says why."""


@dataclass(frozen=True)
class Picture:
    """The image of a square.

    Attributes:
        pixels: (side, side, 3); uint8, or of the raster's own type where it has more than 8 bits.
        native_metres: size on the ground of the pixels that it was made from; None if the source does not say.
        zoom: level of the tiles that it was made from, None for other sources.
        date: of the imagery, "" if the source does not state it.
        pictures: SHA-256 of the answers that it was made from.
    """

    pixels: Pixels
    native_metres: float | None = None
    zoom: int | None = None
    date: str = ""
    pictures: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Access:
    """What an imagery source works with.

    Attributes:
        options: of the command.
        web: the client.
        cache: of answers.
        key: of the service, "" without one.
    """

    options: TilesOptions
    web: Web
    cache: TileCache
    key: str


class ImagerySource(ABC):
    """Where imagery comes from.

    Args:
        access: what it works with.

    Raises:
        UserError: the address can't be used, or the service does not have what was asked for.
    """

    def __init__(self, access: Access) -> None:
        self.access = access

    @property
    @abstractmethod
    def provider(self) -> str:
        """Its address without a key, for the metadata."""

    @abstractmethod
    def num_requests(self, square: Square) -> int:
        """About how many requests an image takes."""

    def shows_placeholder(self, pictures: Sequence[str]) -> bool:  # noqa: ARG002 - most sources have none
        """Whether one of the answers that an image was made from is known as a placeholder by now."""
        return False

    @abstractmethod
    def picture(self, square: Square) -> Picture:
        """The image of a square.

        Raises:
            NoImagery: it has none.
            RejectedPair: the square can't be shown.
            Refused, Unreachable, UserError: as `Web.read`.
        """


def is_plain(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether an image is of one colour, but for what JPEG adds: values of a channel differ by at most 4."""
    spread = pixels.max(axis=(0, 1)).astype(int) - pixels.min(axis=(0, 1))
    return bool((spread <= 4).all())


def is_colourless(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether the mean colour is a grey, as of fillings; sea, ice and sand have a tint."""
    mean = pixels.reshape(-1, pixels.shape[-1]).mean(axis=0)
    return bool(mean.max() - mean.min() <= 4)


def filled(template: str, values: Mapping[str, str]) -> str:
    """An address whose placeholders in braces are replaced."""
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template
