"""Rows of a comparison with files made by hand: summaries, ranks and results as runs would leave them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from downstream.results import Results
from launch.comparison.contents import Comparison, compare
from launch.comparison.outcomes import read_outcome
from launch.comparison.table import Column, Line, Table
from pretrain.methods.settings import AudiovisualConfig
from pretrain.ranking import chance_metrics
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import Config

THERE, BACK = "retrieval/image_to_sound", "retrieval/sound_to_image"


@dataclass(frozen=True)
class Job:
    label: str
    benchmark: str
    folder: Path


@dataclass(frozen=True)
class Row:
    number: int
    method: str
    backbone: str
    seed: int
    folder: Path
    config: Config
    benchmarks: list[Job] = field(default_factory=list)

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"


@dataclass(frozen=True)
class Plan:
    name: str = "small"


def make_row(
    out: Path,
    method: str,
    seed: int = 0,
    *,
    backbone: str = "resnet18",
    benchmarks: tuple[str, ...] = ("retrieval",),
    trained_by: str = "audiovisual",
    **settings: Any,
) -> Row:
    """A row without any files; its number follows from the folders that are there."""
    folder = out / "rows" / f"{len(list(out.glob('rows/*')))}"
    folder.mkdir(parents=True)
    jobs = [Job(name, name, folder / name) for name in benchmarks]
    number = len(list(out.glob("rows/*")))
    config = replace(with_settings(AudiovisualConfig(batch_size=64), {"method": trained_by}), **settings)
    return Row(number, method, backbone, seed, folder, config, jobs)


def write_summary(row: Row, **changes: Any) -> None:
    row.run_folder.mkdir(exist_ok=True)
    summary = {"step": 10, "seconds": 9.0, "training_seconds": 7.5, "peak_memory_bytes": 2_000_000_000, **changes}
    (row.run_folder / "summary.json").write_text(json.dumps(summary))


def write_retrieval(row: Row, *, rank: float, recall: float = 0.25, n: int = 50) -> None:
    """Ranks that differ between the directions by 1, recalls by a half."""
    folder = row.benchmarks[0].folder
    folder.mkdir()
    directions = {
        name: chance_metrics(n)
        | {"recall_at_10": recall / part, "recall_at_10_percent": recall / 4, "median_rank": place}
        for name, part, place in (("image_to_sound", 1, rank), ("sound_to_image", 2, rank + 1))
    }
    record = {"protocol": "standard", "gallery_size": n, "chance": chance_metrics(n), **directions}
    (folder / "metrics.json").write_text(json.dumps(record))


def write_downstream(job: Job, entries: list[dict[str, Any]]) -> None:
    Results(job.benchmark, "run", "resnet18", "paper", 5, 5, entries, 1.0, "trunk", 0, "halves", 0.5).write(job.folder)


def done_row(out: Path, method: str, seed: int, rank: float, **options: Any) -> Row:
    row = make_row(out, method, seed, **{key: value for key, value in options.items() if key not in ("recall", "n")})
    write_summary(row)
    write_retrieval(row, rank=rank, **{key: options[key] for key in ("recall", "n") if key in options})
    return row


def comparison_of(rows: list[Row]) -> Comparison:
    benchmarks = {job.label: job.benchmark for row in rows for job in row.benchmarks}
    return compare("small", [read_outcome(row) for row in rows], benchmarks)


def retrieval_table(comparison: Comparison) -> Table:
    return next(table for table in comparison.tables if table.is_retrieval)


def cell(comparison: Comparison, method: str, key: str, backbone: str = "resnet18") -> tuple[Table, Line, Column]:
    table = next(table for table in comparison.tables for column in table.columns if column.key == key)
    line = next(line for line in table.lines if (line.method, line.backbone) == (method, backbone))
    return table, line, next(column for column in table.columns if column.key == key)
