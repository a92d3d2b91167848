"""What a set of scenes was made from: a table of its pairs, a table of what became of each row, and their counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.atomic_files import write_json, write_text_atomically
from shards.collecting.advance.rules import Decision
from shards.collecting.advance.scene_pairs import WrittenPair, place_of_pair
from shards.csv_text import csv_text
from shards.untrusted_text import without_surrogates

PAIRS_NAME, ROWS_NAME, SUMMARY_NAME = "pairs.csv", "rows.csv", "advance.json"

KEPT = "kept"
TOO_SHORT = "shorter than 2 s"
TAKEN_OUT = "taken out by a correction"
NO_LABEL = "no label"
RARE_CLASS = "class of fewer than 10 pairs"


@dataclass
class RowResult:
    """What became of a row of the corpus.

    Attributes:
        key: of the row, as the table has it.
        outcome: `KEPT`, or the reason why it is not in the set; by these rows are counted.
        detail: more about the reason.
        seconds: length of the recording, None if it was not read.
        label: the class, "" if it got none.
        evidence: what the label was given for.
        num_pairs: pairs that were made of it.
    """

    key: str
    outcome: str
    detail: str = ""
    seconds: float | None = None
    label: str = ""
    evidence: str = ""
    num_pairs: int = 0


@dataclass(frozen=True)
class ClassResult:
    """What became of a class.

    Attributes:
        rows: pairs before the rules on the size of classes.
        decision: "dropped" (fewer than 10), "shifted" (fewer than 100) or "kept".
        pairs: in the set.
    """

    rows: int
    decision: Decision
    pairs: int


@dataclass(frozen=True)
class AdvanceResult:
    """A finished set.

    Attributes:
        rows: what became of each row: those rejected by the table and the names of files, then the others, each in the
            order of the table.
        pairs: of the set, in the order of the table.
        classes: by name.
        without_shift: shifted pairs that could not be made, by reason.
        notices: what the user should know, a sentence each.
        plan: the options and inputs.
    """

    rows: Sequence[RowResult]
    pairs: Sequence[WrittenPair]
    classes: Mapping[str, ClassResult]
    without_shift: Mapping[str, int]
    notices: Sequence[str]
    plan: Mapping[str, Any] = field(default_factory=dict)

    def save(self, out: Path) -> None:
        """Writes the tables, and the counts last: a set that has them is finished."""
        header = ("file", "class", "direction", "key", "longitude", "latitude", "recording_seconds", "repeats",
                  "clip_start_seconds", "title", "creator", "licence")  # fmt: skip
        write_text_atomically(out / PAIRS_NAME, without_surrogates(csv_text(header, map(_pair_row, self.pairs))))
        rows = (
            (row.key, row.outcome, row.detail, _number(row.seconds), row.label, row.evidence, row.num_pairs)
            for row in self.rows
        )
        columns = ("key", "outcome", "detail", "seconds", "label", "label_from", "pairs")
        write_text_atomically(out / ROWS_NAME, without_surrogates(csv_text(columns, rows)))
        write_json(out / SUMMARY_NAME, self.summary())

    def summary(self) -> dict[str, Any]:
        """The counts as plain JSON values."""
        return {
            "plan": dict(self.plan),
            "rows": len(self.rows),
            "pairs": len(self.pairs),
            "outcomes": dict(Counter(row.outcome for row in self.rows).most_common()),
            "classes": {
                name: {"rows": found.rows, "decision": found.decision, "pairs": found.pairs}
                for name, found in sorted(self.classes.items())
            },
            "without_shift": dict(self.without_shift),
            "notices": list(self.notices),
        }


def _pair_row(pair: WrittenPair) -> tuple[object, ...]:
    scene, recording = pair.scene, pair.scene.recording
    properties = scene.pair.properties
    return (
        *(pair.stem, scene.label.class_name, pair.direction or "centre", scene.pair.key, *place_of_pair(scene.pair)),
        *(_number(recording.seconds), pair.repeats, _number(pair.start / recording.rate_hz)),
        *(str(properties.get(name, "")) for name in ("title", "creator", "licence")),
    )


def _number(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
