"""A land-cover data set on disk: pairs of tile and coloured mask, and the validation tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from downstream.kinds import Benchmark, Kind
from downstream.landcover.kind import LANDCOVER
from shards.data_files import is_leftover
from shards.errors import UserError
from shards.raster_settings import RasterSettings

Colour = tuple[int, int, int]
NAMES_IN_MESSAGE = 5


@dataclass(frozen=True)
class Tile:
    """One image with its mask.

    Attributes:
        key: its id, such as "482365".
        image: where the image lies.
        mask: where its mask lies.
        rasters: how a raster becomes RGB: as in the images that the weights learned from.
    """

    key: str
    image: Path
    mask: Path
    rasters: RasterSettings = field(default_factory=RasterSettings)


@dataclass(frozen=True)
class LandCoverData:
    """A data set that was found.

    Attributes:
        tiles: in the order of their ids, numbers as numbers.
        missing: sentences on what of the release is not there; empty for a whole one.
    """

    tiles: list[Tile]
    missing: list[str]


@dataclass(frozen=True)
class LandCoverSplit:
    """Tiles by their use.

    Attributes:
        train: to fit on.
        val: to score on; nothing is chosen by them.
        name: as results show it.
    """

    train: list[Tile]
    val: list[Tile]
    name: str


@dataclass(frozen=True)
class LandCoverBenchmark(Benchmark):
    """Description of a land-cover data set before it is opened.

    Attributes:
        classes: the colour of each class in a mask, (red, green, blue), each 0 or 255; black is unknown.
        validates: whether the tile of an id (a whole number) validates, where no file of ids is given.
        rule: that rule in words.
        places: folders below the root where the pairs may lie, in the order in which they are tried.
        image_name: of a tile's image below its place, with `{key}` for the id.
        mask_name: of its mask.
        num_tiles: published number of tiles; 0 for a data set of any size.
        max_tiles: number of tiles to use, the first by id; 0 uses all.
        patch_size: side of a training patch in pixels.
        patch_stride: pixels from one training patch to the next.
        batch_size: of the published protocol.
    """

    kind: ClassVar[Kind] = LANDCOVER
    classes: Mapping[str, Colour]
    validates: Callable[[int], bool]
    rule: str
    places: tuple[str, ...] = ("",)
    image_name: str = "{key}_sat.jpg"
    mask_name: str = "{key}_mask.png"
    num_tiles: int = 0
    max_tiles: int = 0
    patch_size: int = 512
    patch_stride: int = 347
    batch_size: int = 16

    def load(self, root: Path, *, allow_partial: bool) -> LandCoverData:
        """The tiles below `root`.

        Raises:
            UserError: no such folder or no tiles in it, or, unless `allow_partial`, an image without its mask, a mask
                without its image, or tiles missing from the release.
        """
        place = self._place(root)
        images, masks = self._files(place, self.image_name), self._files(place, self.mask_name)
        missing = [
            *self._unpaired(images, masks, "image", "mask", self.mask_name),
            *self._unpaired(masks, images, "mask", "image", self.image_name),
        ]
        keys = sorted(images.keys() & masks.keys(), key=_by_number)
        if self.num_tiles and len(keys) != self.num_tiles:
            missing.append(f"{len(keys)} of the {self.num_tiles} tiles of {self.title} that have a mask")
        if missing and not allow_partial:
            raise UserError(f"{place} is not a complete copy of {self.title}: {missing[0]}; --allow-partial accepts it")
        if self.max_tiles:
            keys = keys[: self.max_tiles]
        if len(keys) < 2:
            raise UserError(f"{place} has {len(keys)} tiles with a mask, at least 2 are needed: to train and to score")
        return LandCoverData([Tile(key, images[key], masks[key]) for key in keys], missing)

    def split(self, tiles: list[Tile], val_ids: Path | None) -> LandCoverSplit:
        """Which tiles train and which validate: by the benchmark's rule, or by a file that names the latter.

        Args:
            tiles: all of them.
            val_ids: a text file, an id a line.

        Raises:
            UserError: the file can't be read or names a missing tile, an id is not a number where the rule
                asks for one, or one of the two parts would be empty.
        """
        if val_ids is not None:
            chosen = self._read_ids(val_ids, {tile.key for tile in tiles})
            name = f"the {len(chosen)} tiles named in {val_ids.name} validate"
        else:
            odd = next((tile.key for tile in tiles if not tile.key.isdecimal()), None)
            if odd is not None:
                raise UserError(
                    f"the id {odd!r} is not a whole number, by which {self.title} is split; list the validation tiles "
                    "in a file, one id per line, and give it with --val-ids"
                )
            chosen = {tile.key for tile in tiles if self.validates(int(tile.key))}
            name = self.rule
        train = [tile for tile in tiles if tile.key not in chosen]
        val = [tile for tile in tiles if tile.key in chosen]
        if not train or not val:
            raise UserError(
                f"of {len(tiles)} tiles {len(train)} would train and {len(val)} validate ({name}), neither may be 0; "
                "name the validation tiles in a file, an id a line, and give it by --val-ids"
            )
        return LandCoverSplit(train, val, name)

    def _place(self, root: Path) -> Path:
        self.check_root(root)
        for place in (root / name for name in self.places):
            if any(self._files(place, name) for name in (self.image_name, self.mask_name)):
                return place
        expected = " or ".join(f"{root / name / self.image_name}" for name in self.places)
        raise UserError(f"root {root} holds no tiles of {self.title}; expected {expected} with {self.mask_name}")

    @staticmethod
    def _files(place: Path, name: str) -> dict[str, Path]:
        """The files of a folder that are named so, by their ids."""
        folder, (start, end) = (place / name).parent, Path(name).name.split("{key}")
        if not folder.is_dir():
            return {}
        return {
            path.name[len(start) : -len(end)]: path
            for path in folder.iterdir()
            if path.name.startswith(start) and path.name.endswith(end) and not is_leftover(path.name)
        }

    @staticmethod
    def _unpaired(have: dict[str, Path], other: dict[str, Path], what: str, wanted: str, name: str) -> list[str]:
        alone = sorted(have.keys() - other.keys(), key=_by_number)
        if not alone:
            return []
        shown = ", ".join(have[key].name for key in alone[:NAMES_IN_MESSAGE])
        more = f" and {len(alone) - NAMES_IN_MESSAGE} more" if len(alone) > NAMES_IN_MESSAGE else ""
        return [f"no {wanted} for {len(alone)} of {len(have)} {what}s, expected {name}: {shown}{more}"]

    def _read_ids(self, path: Path, known: set[str]) -> set[str]:
        try:
            ids = set(path.read_text(encoding="utf-8").split())
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"val_ids {path} can't be read as a text file of ids, one a line: {error}") from error
        unknown = sorted(ids - known, key=_by_number)
        if unknown:
            raise UserError(
                f"val_ids {path} names {unknown[0]!r}, which is not among the tiles of {self.title} found here "
                f"({len(unknown)} of its {len(ids)} ids are not); name tiles that are there"
            )
        return ids


def _by_number(key: str) -> tuple[int, str]:
    """Sort key: numbers by value, then other ids."""
    return len(key), key
