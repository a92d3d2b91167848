"""Scene-recognition data sets: a folder of class folders, checked against the published class counts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from downstream.kinds import Benchmark, Kind
from downstream.running.items import SceneItem
from downstream.scenes.kind import SCENES
from shards.data_files import IMAGE_SUFFIXES, data_files, data_folders
from shards.errors import UserError

NAMES_IN_MESSAGE = 5


@dataclass(frozen=True)
class SceneData:
    """A loaded data set.

    Attributes:
        classes: class names, in alphabetical order.
        items: sorted by key.
        missing: messages about missing parts of the official release; empty if complete.
    """

    classes: list[str]
    items: list[SceneItem]
    missing: list[str]


@dataclass(frozen=True)
class SceneBenchmark(Benchmark):
    """Description of a scene data set before it is opened.

    Attributes:
        folder: where the class folders lie in the unpacked release, tried beside the root itself.
        images_of_class: published number of images by class; empty for users' own data.
        image_size: side at which the network sees an image; 0: as stored, which then has to be the same for all.
        batch_size: of the published protocol.
        usual_fractions: shares of training images that papers report, in the order of their use.
    """

    kind: ClassVar[Kind] = SCENES
    folder: str = ""
    images_of_class: dict[str, int] | None = None
    image_size: int = 0
    batch_size: int = 48
    usual_fractions: tuple[float, ...] = (0.5,)

    def load(self, root: Path, *, allow_partial: bool) -> SceneData:
        """Loads the items below `root`.

        Raises:
            UserError: the folder or its class folders are missing, a class is unknown, or, unless `allow_partial`,
                classes or images of the official release are missing.
        """
        place = self._place(root)
        known = self.images_of_class
        found = [path.name for path in data_folders(place) if data_files(path, IMAGE_SUFFIXES)]
        if known:
            unknown = [name for name in found if name not in known]
            if unknown:
                raise UserError(
                    f"{place} holds the folder {unknown[0]!r}, which is not a class of {self.title}; its classes are: "
                    f"{', '.join(sorted(known))}"
                )
        classes = sorted(known) if known else found
        items = [
            SceneItem(f"{name}/{path.name}", path, label)
            for label, name in enumerate(classes)
            for path in (data_files(place / name, IMAGE_SUFFIXES) if (place / name).is_dir() else ())
        ]
        missing = self._missing(items, classes) if known else []
        if missing and not allow_partial:
            raise UserError(f"{place} is not a complete copy of {self.title}: {missing[0]}; --allow-partial accepts it")
        if len({item.label for item in items}) < 2:
            raise UserError(
                f"{place} has images of fewer than 2 classes; give a folder with one folder of images per class"
            )
        return SceneData(classes, items, missing)

    def _place(self, root: Path) -> Path:
        self.check_root(root)
        for place in (root / self.folder, root):
            if place.is_dir() and any(self._is_class(path) for path in data_folders(place)):
                return place
        layout = f"{self.folder}/<class>/<image>" if self.folder else "<class>/<image>"
        raise UserError(f"root {root} has no class folders of {self.title} with images; expected {root}/{layout}")

    def _is_class(self, path: Path) -> bool:
        if self.images_of_class:
            return path.name in self.images_of_class
        return bool(data_files(path, IMAGE_SUFFIXES))

    def _missing(self, items: list[SceneItem], classes: list[str]) -> list[str]:
        assert self.images_of_class
        counts = dict.fromkeys(classes, 0)
        for item in items:
            counts[classes[item.label]] += 1
        short = [name for name in classes if counts[name] != self.images_of_class[name]]
        if not short:
            return []
        shown = ", ".join(
            f"{name} has {counts[name]} of {self.images_of_class[name]}" for name in short[:NAMES_IN_MESSAGE]
        )
        more = f" and {len(short) - NAMES_IN_MESSAGE} more classes" if len(short) > NAMES_IN_MESSAGE else ""
        return [f"{len(items)} of {sum(self.images_of_class.values())} images; {shown}{more}"]
