"""TAU Urban Audio-Visual Scenes 2021: 12,291 audiovisual clips of 10 s in 10 classes (Wang et al., 2021)."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from downstream.kinds import Benchmark, Kind
from downstream.tau.kind import TAU
from shards.errors import UserError

CLASSES = (
    *("airport", "bus", "metro", "metro_station", "park"),
    *("public_square", "shopping_mall", "street_pedestrian", "street_traffic", "tram"),
)
META_NAME = "meta.csv"
SETUP = "evaluation_setup"
TRAIN_NAME, TEST_NAME, EVALUATE_NAME = (f"{SETUP}/fold1_{part}.csv" for part in ("train", "test", "evaluate"))
COLUMNS = ("filename_audio", "filename_video")
SEPARATORS = "\t,;"
"""Of the tables: the official ones are separated by tabs."""


@dataclass(frozen=True)
class Clip:
    """Ten seconds of one place.

    Attributes:
        key: names it within the data set, such as "airport-lisbon-1175-44106".
        sound: where its WAV lies.
        video: where its MP4 lies.
        label: index into `CLASSES`.
        location: clips of one location, such as "lisbon-1175", were recorded at one place.
    """

    key: str
    sound: Path
    video: Path
    label: int
    location: str


@dataclass(frozen=True)
class TauData:
    """Contents of the fold files.

    Attributes:
        train: clips of the official training fold, sorted by key.
        test: of the official test fold.
        faults: a sentence for each row that can't be used.
        missing: sentences on what of the official release is not there; empty for a whole one.
    """

    train: list[Clip]
    test: list[Clip]
    faults: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def num_rows(self) -> int:
        """Clips that the fold files name, of use or not."""
        return len(self.train) + len(self.test) + len(self.faults)


@dataclass(frozen=True)
class TauBenchmark(Benchmark):
    """Description of the data set before it is opened.

    Attributes:
        num_clips: published number of clips of both folds; 0 where there is none to hold them against.
    """

    kind: ClassVar[Kind] = TAU
    num_clips: int = 0

    def load(self, root: Path, *, allow_partial: bool) -> TauData:
        """The clips below `root` in the official layout.

        It holds `meta.csv`, `evaluation_setup/fold1_train.csv`, `fold1_evaluate.csv` (labels) and `fold1_test.csv` (the
        same clips without labels, which may be left out), `audio/*.wav` and `video/*.mp4`.

        Raises:
            UserError: a table is missing or not one, a clip is in both folds, fewer than 2 classes have training
                clips, or, unless `allow_partial`, clips are missing from the official release.
        """
        self.check_root(root)
        meta = {row["filename_audio"]: row for row in read_table(root / META_NAME, (*COLUMNS, "scene_label"))}
        faults: list[str] = []
        train, test = (_clips(root, name, meta, faults) for name in (TRAIN_NAME, EVALUATE_NAME))
        _check_folds(root, train, test)
        data = TauData(train, test, faults)
        if not self.num_clips or data.num_rows == self.num_clips:
            return data
        missing = f"the folds name {data.num_rows} of {self.num_clips} clips"
        if not allow_partial:
            raise UserError(f"{root} is not a complete copy of {self.title}: {missing}; --allow-partial accepts it")
        return dataclasses.replace(data, missing=[missing])


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a table separated by tabs, commas or semicolons, whichever its header has most of.

    Raises:
        UserError: it can't be read as UTF-8 text, or lacks a column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(
            f"{path} can't be read: {reason}; the root of TAU's scenes holds {META_NAME}, {SETUP}/, audio/ and video/"
        ) from error
    header = text.partition("\n")[0]
    separator = max(SEPARATORS, key=header.count)
    lines = csv.DictReader(text.splitlines(), delimiter=separator)
    absent = [name for name in columns if name not in (lines.fieldnames or ())]
    if absent:
        raise UserError(f"{path} has no column {absent[0]!r}; its columns must be {', '.join(columns)}")
    return [{name: (value or "").strip() for name, value in row.items() if isinstance(name, str)} for row in lines]


def _clips(root: Path, name: str, meta: Mapping[str, Mapping[str, str]], faults: list[str]) -> list[Clip]:
    """The clips that a fold file names; a sentence for each that can't be used is added to `faults`."""
    found: dict[str, Clip] = {}
    for row in read_table(root / name, COLUMNS):
        known = meta.get(row["filename_audio"], {})
        key = Path(row["filename_audio"]).stem
        label = row.get("scene_label") or known.get("scene_label", "")
        sound, video = root / row["filename_audio"], root / row["filename_video"]
        fault = _fault(known, label, sound, video, key in found)
        if fault:
            faults.append(f"{name}: {key or 'a row without a name'}: {fault}")
            continue
        location = known.get("identifier") or "-".join(key.split("-")[1:3])
        found[key] = Clip(key, sound, video, CLASSES.index(label), location)
    return [found[key] for key in sorted(found)]


def _fault(known: Mapping[str, str], label: str, sound: Path, video: Path, is_known: bool) -> str | None:
    if not known:
        return f"{META_NAME} does not name it"
    if label not in CLASSES:
        return f"its label {label!r} is none of the ten: {', '.join(CLASSES)}"
    if label != known["scene_label"]:
        return f"its label is {label} here and {known['scene_label']} in {META_NAME}"
    if is_known:
        return "named twice"
    absent = [path for path in (sound, video) if not path.is_file()]
    return f"there is no {absent[0].parent.name}/{absent[0].name}" if absent else None


def _check_folds(root: Path, train: Sequence[Clip], test: Sequence[Clip]) -> None:
    shared = sorted({clip.key for clip in train} & {clip.key for clip in test})
    if shared:
        raise UserError(
            f"{root} has {len(shared)} clips in both the training and the test fold, the first is {shared[0]}; take "
            f"the official {SETUP}"
        )
    if (root / TEST_NAME).is_file():
        named = {row["filename_audio"] for row in read_table(root / TEST_NAME, COLUMNS)}
        other = named ^ {row["filename_audio"] for row in read_table(root / EVALUATE_NAME, COLUMNS)}
        if other:
            raise UserError(
                f"{root / TEST_NAME} and {root / EVALUATE_NAME} must name the same clips, {len(other)} are in one "
                f"alone, such as {min(other)}"
            )
    if len({clip.label for clip in train}) < 2 or not test:
        raise UserError(f"{root} has training clips of fewer than 2 classes, or no test clip, that can be used")


TAU_SCENES = TauBenchmark(name="tau-scenes", title="TAU Urban Audio-Visual Scenes 2021", num_clips=8646 + 3645)
