"""`metrics.jsonl`: one JSON object a line, appended as a run goes, cut back when it resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic takes that of Python 3.12 or this one

from shards.atomic_files import naming, write_text_atomically
from shards.records import MOST_BYTES, Count, DamagedRecord, checked, json_as, read_bytes_within

METRICS_NAME = "metrics.jsonl"


class Line(TypedDict):
    """What every line has."""

    step: Count
    epoch: Count
    split: str


class MetricsFile:
    """The metrics of a run folder; every line has `step`, `epoch` and `split`."""

    def __init__(self, run_folder: Path) -> None:
        self.path = run_folder / METRICS_NAME

    def append(self, *, step: int, epoch: int, split: str, **values: Any) -> None:
        """Adds a line and hands it to the operating system at once."""
        with naming(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "epoch": epoch, "split": split, **values}) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """The whole lines; the last is left out where a killed run wrote only a part of it.

        Raises:
            UserError: another line is damaged.
        """
        if not self.path.is_file():
            return []
        lines = read_bytes_within(self.path, MOST_BYTES).splitlines()
        whole = []
        for number, line in enumerate(lines, 1):
            where = f"line {number} of {self.path}"
            try:
                record = json_as(dict[str, Any], line, where)
            except DamagedRecord:
                if number == len(lines):
                    break
                raise
            whole.append(checked(Line, record, where, "remove it"))
        return whole

    def drop_after(self, step: int) -> None:
        """Drops what came after `step`: a run that resumes there will write it again."""
        kept = [line for line in self.read() if line["step"] <= step]
        write_text_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))
