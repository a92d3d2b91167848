"""An audiovisual scene data set: an image, a sound, a scene label and a location for each item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from downstream.audiovisual.kind import AUDIOVISUAL
from downstream.kinds import Benchmark, Kind
from downstream.running.items import SceneItem
from shards.errors import UserError
from shards.raster_settings import RasterSettings

NAMES_IN_MESSAGE = 5


@dataclass(frozen=True)
class ScenePair:
    """One labelled place.

    Attributes:
        key: key within the data set, such as "beach/00093".
        image: path of its image.
        sound: path of its sound.
        label: index of the class.
        location: its location; pairs of one location share a recording.
        rasters: how a raster becomes RGB: as in the images that the weights learned from.
    """

    key: str
    image: Path
    sound: Path
    label: int
    location: str
    rasters: RasterSettings = field(default_factory=RasterSettings)

    @property
    def image_item(self) -> SceneItem:
        """The image alone."""
        return SceneItem(self.key, self.image, self.label, self.rasters)


@dataclass(frozen=True)
class FoundPairs:
    """Contents of a data set's folder.

    Attributes:
        classes: names, in alphabetical order; all of the official release, also those that are not there.
        pairs: sorted by key.
        unpaired: a sentence for each image without sound and each sound without image.
    """

    classes: list[str]
    pairs: list[ScenePair]
    unpaired: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class AudiovisualData:
    """A loaded data set.

    Attributes:
        classes: class names, in alphabetical order.
        pairs: sorted by key.
        missing: messages about missing parts of the official release; empty if complete.
    """

    classes: list[str]
    pairs: list[ScenePair]
    missing: list[str]


@dataclass(frozen=True)
class AudiovisualBenchmark(Benchmark):
    """Description of an audiovisual data set before it is opened.

    Attributes:
        find: lists the pairs below a root; it refuses roots, classes and names that can't be right by a `UserError`.
        whole_image_size: side to which the protocol paper resizes whole images, in pixels: half of ADVANCE's 512.
        pairs_of_class: published number of pairs by class; None where there is none to hold it against.
    """

    kind: ClassVar[Kind] = AUDIOVISUAL
    find: Callable[[Path], FoundPairs]
    whole_image_size: int = 256
    pairs_of_class: dict[str, int] | None = None

    def load(self, root: Path, *, allow_partial: bool) -> AudiovisualData:
        """Loads the pairs below `root`.

        Raises:
            UserError: the folder is missing or invalid, or, unless `allow_partial`, an image has no sound, a sound has
                no image, or pairs of the official release are missing.
        """
        self.check_root(root)
        found = self.find(root)
        missing = [*found.unpaired, *self._missing(found)]
        if missing and not allow_partial:
            raise UserError(f"{root} is not a complete copy of {self.title}: {missing[0]}; --allow-partial accepts it")
        if len({pair.label for pair in found.pairs}) < 2:
            raise UserError(f"{root} has pairs of fewer than 2 classes of {self.title}; a classifier needs at least 2")
        return AudiovisualData(found.classes, found.pairs, missing)

    def _missing(self, found: FoundPairs) -> list[str]:
        if not self.pairs_of_class:
            return []
        counts = Counter(found.classes[pair.label] for pair in found.pairs)
        other = [name for name in found.classes if counts[name] != self.pairs_of_class[name]]
        if not other:
            return []
        shown = ", ".join(
            f"{name} has {counts[name]} of {self.pairs_of_class[name]}" for name in other[:NAMES_IN_MESSAGE]
        )
        more = f" and {len(other) - NAMES_IN_MESSAGE} more classes" if len(other) > NAMES_IN_MESSAGE else ""
        return [f"{len(found.pairs)} of {sum(self.pairs_of_class.values())} pairs; {shown}{more}"]
