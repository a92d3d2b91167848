"""Groups results into table rows: runs that differ in the seed only become one row with mean and deviation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from downstream.benchmarks import kind_of
from downstream.reporting.published import BACKBONES, Published
from downstream.reporting.runs import Run, drawn_seeds, short_names
from downstream.results import Results
from downstream.tables import Entry, Reporting
from pretrain.scores import PERCENT, Score, Unit
from shards.errors import UserError
from shards.records import shortened

PUBLISHED, MEASURED = "published", "measured"

DETAILS = {"image_size": "{} px", "batch_size": "", "num_seeds": "", "num_val": ""}
"""Details that distinguish runs of any kind, with their notes; see `Reporting.details`."""


@dataclass(frozen=True)
class Figure:
    """A score as it is shown.

    Attributes:
        mean: over the runs, in the unit.
        sd: sample standard deviation over them; None for a single one.
        unit: such as percent.
    """

    mean: float
    sd: float | None = None
    unit: Unit = PERCENT

    @property
    def is_percent(self) -> bool:
        """Whether it can be drawn as a share of a whole."""
        return self.unit.name == PERCENT.name

    @property
    def texts(self) -> list[str]:
        """The mean and, where there is one, the deviation."""
        return [format(value, self.unit.form) for value in (self.mean, self.sd) if value is not None]

    def __str__(self) -> str:
        return " ± ".join(self.texts)


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        benchmark: its name.
        table: name of the table's layout.
        origin: "published" or "measured".
        weights: as shown.
        weights_in_full: as given on the command line.
        backbone: as shown.
        figures: by key of the score, or as `<key>_<epoch>`.
        protocol: its name; empty for published rows.
        train_fraction: share of the items that trained; None where not known.
        seeds: how many runs the figures are from and by which seeds, in words.
        conditions: what else tells rows apart, such as what the head sits on.
        source: of a published row.
        notes: what readers have to know.
        modality: "image", "sound", "both", or empty.
        joined: how image and sound were joined, or empty.
        approach: the losses, or the strategy, by their paper's names, where it compares them.
    """

    benchmark: str
    table: str
    origin: str
    weights: str
    weights_in_full: str
    backbone: str
    figures: dict[str, Figure]
    protocol: str = ""
    train_fraction: float | None = None
    seeds: str = ""
    conditions: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    modality: str = ""
    joined: str = ""
    approach: str = ""

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The conditions as one sentence, then the notes."""
        return (*(["; ".join(self.conditions)] if self.conditions else []), *self.notes)


def rows_of_runs(runs: Sequence[Run]) -> list[Row]:
    """The rows of runs: those of one settings under several seeds share theirs.

    Raises:
        UserError: two runs of the same settings share a seed, or a run is of a benchmark that is not known.
    """
    names = short_names({run.results.weights for run in runs})
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        groups.setdefault(_settings_of(run.results), []).append(run)
    for group in groups.values():
        for one, other in combinations(group, 2):
            _refuse_shared_seeds(one, other)
    return [row for group in groups.values() for row in _rows_of([run.results for run in group], names)]


def row_of_published(published: Published) -> Row:
    """A published row as shown beside ours."""
    reporting = kind_of(published.benchmark).reporting
    layout = reporting.layout(published.table)
    units = {score.key: score.unit for score in layout.scores}
    figures = {
        name: Figure(mean, published.sds.get(name), units.get(name, layout.scores[0].unit))
        for name, mean in published.scores.items()
    }
    return Row(
        benchmark=published.benchmark,
        table=layout.name,
        origin=PUBLISHED,
        weights=published.weights,
        weights_in_full=published.weights,
        backbone=BACKBONES.get(published.backbone, published.backbone),
        figures=figures,
        train_fraction=published.train_fraction,
        conditions=(published.remark,) if published.remark else (),
        source=published.source,
        seeds="5 runs" if published.sds else "",
        modality=published.modality,
        approach=published.approach,
        joined=published.joined,
    )


def _settings_of(results: Results) -> tuple[object, ...]:
    """All that two results must share to be runs of one thing: everything but seed, scores and time."""
    details = results.details
    return (
        *(results.benchmark, results.weights, results.backbone, results.protocol, results.head_on, results.split),
        *(results.weights_sha256, json.dumps(details.get("training"), sort_keys=True)),
        *(results.num_train, results.num_test, tuple(results.notes), results.epochs[-1]["epoch"]),
        *(json.dumps(details.get(name)) for name in {**DETAILS, **kind_of(results.benchmark).reporting.details}),
    )


def _refuse_shared_seeds(one: Run, other: Run) -> None:
    shared = sorted(drawn_seeds(one.results) & drawn_seeds(other.results))
    if shared:
        seeds = f"seed{'s' if len(shared) > 1 else ''} {', '.join(map(str, shared))}"
        raise UserError(f"{one.folder} and {other.folder} share settings and {seeds}; omit one")


def _rows_of(group: Sequence[Results], names: dict[str, str]) -> Iterator[Row]:
    first = group[0]
    reporting = kind_of(first.benchmark).reporting
    for entry in reporting.entries_of(first):
        yield Row(
            benchmark=first.benchmark,
            table=entry.table,
            origin=MEASURED,
            weights=names[first.weights],
            weights_in_full=first.weights,
            backbone=BACKBONES.get(first.backbone, first.backbone),
            figures=_figures(group, reporting, entry),
            protocol=first.protocol,
            train_fraction=first.train_fraction,
            seeds=_seeds(group),
            conditions=_conditions(first, reporting),
            notes=tuple(first.notes),
            modality=entry.modality,
            joined=entry.joined,
            approach=entry.approach,
        )


def _figures(group: Sequence[Results], reporting: Reporting, entry: Entry) -> dict[str, Figure]:
    """The scores of the entry's table over the group: after the last epoch, or after each, as `<key>_<epoch>`."""
    layout = reporting.layout(entry.table)
    if layout.by_epoch:
        (score,) = layout.scores
        found = {
            f"{score.key}_{epoch['epoch']}": _merged(
                [(same, 1) for results in group for same in results.epochs if same["epoch"] == epoch["epoch"]], score
            )
            for epoch in group[0].epochs
        }
    else:
        last = [
            (
                results.epochs[-1].get(entry.part) if entry.part else results.epochs[-1],
                results.details.get("num_seeds", 1),
            )
            for results in group
        ]
        found = {score.key: _merged(last, score) for score in layout.scores}
    return {name: figure for name, figure in found.items() if figure is not None}


def _merged(scores: Sequence[tuple[Any, int]], score: Score) -> Figure | None:
    """The mean over results and the runs within them, and the deviation over all of these.

    Args:
        scores: of each result, and how many runs they are the mean of.
        score: which of them; where it is a mean, its standard deviation stands beside it.
    """
    known = [(score.value_in(of), score.deviation_in(of) or 0.0, n) for of, n in scores]
    values = [(value, sd, n) for value, sd, n in known if value is not None]
    if not values:
        return None
    total = sum(n for _, _, n in values)
    mean = sum(n * value for value, _, n in values) / total
    squares = sum((n - 1) * sd**2 + n * (value - mean) ** 2 for value, sd, n in values)
    scale = score.unit.factor
    return Figure(scale * mean, scale * math.sqrt(squares / (total - 1)) if total > 1 else None, score.unit)


def _seeds(group: Sequence[Results]) -> str:
    seeds = ", ".join(str(results.seed) for results in sorted(group, key=lambda results: results.seed))
    plural = "s" if len(group) > 1 else ""
    draws = group[0].details.get("num_seeds", 1)
    if draws == 1:
        return f"seed{plural} {seeds}"
    return f"{draws} draws × seeds {seeds}" if plural else f"{draws} draws, seed {seeds}"


def _conditions(results: Results, reporting: Reporting) -> tuple[str, ...]:
    found = [f"head on {results.head_on}"] if reporting.names_head else []
    if results.split:
        found.append(results.split)
    for name, words in {**DETAILS, **reporting.details}.items():
        if words and results.details.get(name):
            found.append(words.format(shortened(str(results.details[name]))))
    if training := results.details.get("training"):
        rate = f"learning rate {training['optimizer.learning_rate']:g}"
        found.append(f"{training['optimizer.name']}, {rate}, {training['precision']}")
    found.append(f"{results.num_train:,} training, {results.num_test:,} test items")
    return tuple(found)
