"""Sound events for scenes: ADVANCE with whole networks trained on it, and labelled sounds to train the teacher on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

from downstream.audiovisual.advance import ADVANCE
from downstream.audiovisual.benchmark import AudiovisualBenchmark, AudiovisualData, ScenePair
from downstream.audiovisual.pairs_table import find_table_pairs, has_table
from downstream.kinds import Benchmark, Kind
from downstream.running.items import SceneItem
from downstream.transfer.kind import SOUND_EVENTS as SOUND_EVENT_KIND
from downstream.transfer.kind import TRANSFER
from downstream.transfer.settings import HearingSettings
from shards.data_files import SOUND_SUFFIXES, data_files, data_folders
from shards.errors import UserError


@dataclass(frozen=True)
class TransferBenchmark(Benchmark):
    """Pairs of image and sound by scene: ADVANCE's folder, or one with metadata.csv."""

    kind: ClassVar[Kind] = TRANSFER

    def load(self, root: Path, settings: HearingSettings, *, allow_partial: bool) -> AudiovisualData:
        """The pairs below `root`, of the classes that are there.

        Raises:
            UserError: no such folder, something in it that can't be right, or, unless `allow_partial`, what is missing.
        """
        data = _pairs_of(self, root, settings.label_column, settings.group_column).load(
            root, allow_partial=allow_partial
        )
        present = sorted({pair.label for pair in data.pairs})
        pairs = [replace(pair, label=present.index(pair.label)) for pair in data.pairs]
        return AudiovisualData([data.classes[label] for label in present], pairs, data.missing)


@dataclass(frozen=True)
class SoundEvents:
    """Labelled sounds.

    Attributes:
        classes: names of the events, in alphabetical order.
        items: each sound, sorted by key; its path in the root is its key.
        pairs: of a table, all that have a scene, for splits; None for a folder of classes.
        sound_of_pair: of a pair's key the sound's; empty for a folder of classes.
        missing: sentences on what is not there.
    """

    classes: list[str]
    items: list[SceneItem]
    pairs: list[ScenePair] | None
    sound_of_pair: dict[str, str]
    missing: list[str]


@dataclass(frozen=True)
class SoundEventsBenchmark(Benchmark):
    """Labelled sounds: a folder of class folders, or one with metadata.csv."""

    kind: ClassVar[Kind] = SOUND_EVENT_KIND

    def load(self, root: Path, settings: HearingSettings, *, allow_partial: bool) -> SoundEvents:
        """The sounds below `root`.

        Raises:
            UserError: no such folder, no sounds of two or more classes, or, unless `allow_partial`, what is missing.
        """
        if has_table(root):
            return self._of_table(root, settings, allow_partial=allow_partial)
        self.check_root(root)
        files = {folder.name: data_files(folder, SOUND_SUFFIXES) for folder in data_folders(root)}
        classes = [name for name, paths in files.items() if paths]
        if len(classes) < 2:
            raise UserError(
                f"root {root} has sounds of {len(classes)} classes, a tagger needs 2 or more; expected "
                f"{root}/<class>/<sound> with {', '.join(SOUND_SUFFIXES[:6])} …"
            )
        items = [
            SceneItem(f"{name}/{path.name}", path, label) for label, name in enumerate(classes) for path in files[name]
        ]
        return SoundEvents(classes, items, None, {}, [])

    def _of_table(self, root: Path, settings: HearingSettings, *, allow_partial: bool) -> SoundEvents:
        events, scenes = (
            _pairs_of(self, root, column, settings.group_column).load(root, allow_partial=allow_partial)
            for column in (settings.event_column, settings.label_column)
        )
        key_of = {pair.key: str(pair.sound.relative_to(root)) for pair in events.pairs}
        items = [SceneItem(key_of[pair.key], pair.sound, pair.label) for pair in events.pairs]
        return SoundEvents(events.classes, items, scenes.pairs, key_of, events.missing)


def _pairs_of(
    benchmark: TransferBenchmark | SoundEventsBenchmark, root: Path, label_column: str, group_column: str
) -> AudiovisualBenchmark:
    if not has_table(root):
        return replace(ADVANCE, name=benchmark.name)
    find = partial(find_table_pairs, label_column=label_column, group_column=group_column)
    return AudiovisualBenchmark(benchmark.name, benchmark.title, find)


ADVANCE_TRANSFER = TransferBenchmark("advance-transfer", "ADVANCE with sound events transferred to scenes")
SOUND_EVENTS = SoundEventsBenchmark("sound-events", "sounds by what sounds in them")
