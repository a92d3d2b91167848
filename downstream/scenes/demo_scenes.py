"""The demo world as a scene benchmark that runs offline; `metadata.csv` has the class of `images/<key>.jpg`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from downstream.running.items import SceneItem
from downstream.scenes.benchmark import SceneBenchmark, SceneData
from shards.demo_world.land_uses import SCENES
from shards.errors import UserError
from shards.sources.metadata_table import TABLE_NAME, read_table

CLASS_COLUMN = "scene"


@dataclass(frozen=True)
class TableOfScenes(SceneBenchmark):
    """Scenes in one folder, with a table of classes instead of class folders."""

    classes: tuple[str, ...] = ()

    @override
    def load(self, root: Path, *, allow_partial: bool) -> SceneData:
        """Loads the items of the table below `root`, with keys `<class>/<key>.jpg`.

        Raises:
            UserError: the folder or table is missing, a class is unknown, or images are missing without
                `allow_partial`.
        """
        rows = self._rows(root)
        labels = {name: label for label, name in enumerate(sorted(self.classes))}
        items, lost = [], []
        for line, row in rows:
            name, key = row[CLASS_COLUMN], row["key"]
            if name not in labels:
                raise UserError(
                    f"{root / TABLE_NAME}, line {line}: {CLASS_COLUMN} {name!r} is not a class of {self.title}; its "
                    f"classes are: {', '.join(labels)}"
                )
            path = root / "images" / f"{key}.jpg"
            if path.is_file():
                items.append(SceneItem(f"{name}/{path.name}", path, labels[name]))
            else:
                lost.append(path)
        missing = [f"{len(items)} of {len(rows)} images; the first missing one: {lost[0]}"] if lost else []
        if missing and not allow_partial:
            raise UserError(f"{root} is not a complete copy of {self.title}: {missing[0]}; --allow-partial accepts it")
        if len({item.label for item in items}) < 2:
            raise UserError(
                f"{root} has images of fewer than 2 classes; generate the demo world again with more places"
            )
        return SceneData(list(labels), sorted(items, key=lambda item: item.key), missing)

    def _rows(self, root: Path) -> list[tuple[int, dict[str, str]]]:
        remedy = f"generate the demo world with: python shards/run.py build --source demo --root {root} --out SHARDS"
        try:
            table = read_table(root)
        except UserError as error:
            raise UserError(f"{error}; {remedy}") from error
        if CLASS_COLUMN not in table.columns:
            raise UserError(f"{table.path} has no column {CLASS_COLUMN!r}; {remedy}")
        return list(table.rows)


DEMO_SCENES = TableOfScenes(name="demo-scenes", title="the demo world", image_size=96, classes=tuple(SCENES.values()))
