"""Rows → the tables of the report: one a benchmark and layout, published rows among ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from downstream.benchmarks import BENCHMARKS
from downstream.reporting.published import EPOCHS, PUBLISHED
from downstream.reporting.published_tau import PUBLISHED_TAU
from downstream.reporting.published_transfer import PUBLISHED_TRANSFER
from downstream.reporting.rows import MEASURED, Row, row_of_published
from downstream.reporting.runs import WEIGHTS
from downstream.tables import TableLayout

ALL_PUBLISHED = (*PUBLISHED, *PUBLISHED_TRANSFER, *PUBLISHED_TAU)
MODALITIES = {"": "", "sound": "sound", "image": "image", "both": "image + sound"}
"""In the order of tables, and in words."""


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        title: of the benchmark, and what sets the table apart.
        layout: its caption, and how it is sorted.
        columns: of figures, by key, and their headings.
        rows: in the order shown.
    """

    title: str
    layout: TableLayout
    columns: dict[str, str]
    rows: list[Row]

    @property
    def shows_input(self) -> bool:
        """Whether its rows differ in modality."""
        return any(row.modality for row in self.rows)

    @property
    def shows_approach(self) -> bool:
        """Whether its rows differ in their losses."""
        return any(row.approach for row in self.rows)

    @property
    def shows_protocol(self) -> bool:
        """Whether its rows are of other protocols than the papers'."""
        return any(map(_other_protocol, self.rows))

    @property
    def sources(self) -> list[str]:
        """Where its published rows are from, each once."""
        return list(dict.fromkeys(row.source for row in self.rows if row.source))

    @property
    def notes(self) -> list[str]:
        """Notes for readers of its rows, each once."""
        return list(dict.fromkeys(note for row in self.rows for note in row.all_notes))


def build_tables(measured: Sequence[Row]) -> list[Table]:
    """Tables of measured rows with the published ones among them, in the order of `BENCHMARKS`."""
    benchmarks = [*BENCHMARKS, *dict.fromkeys(row.benchmark for row in measured if row.benchmark not in BENCHMARKS)]
    tables = []
    for benchmark in benchmarks:
        ours = [row for row in measured if row.benchmark == benchmark]
        if ours:
            published = [row_of_published(row) for row in ALL_PUBLISHED if row.benchmark == benchmark]
            layouts = BENCHMARKS[benchmark].kind.reporting.tables
            tables += [
                _table(benchmark, layout, [row for row in (*published, *ours) if row.table == layout.name])
                for layout in layouts
                if any(row.table == layout.name for row in ours)
            ]
    return tables


def _table(benchmark: str, layout: TableLayout, rows: list[Row]) -> Table:
    title = BENCHMARKS[benchmark].title
    title = title[:1].upper() + title[1:] + (layout.title and f", {layout.title}")
    rows.sort(key=lambda row: [PLACES[name](row, layout) for name in layout.order])
    return Table(title, layout, _columns(layout, rows), rows)


def _columns(layout: TableLayout, rows: Sequence[Row]) -> dict[str, str]:
    found = {name for row in rows for name in row.figures}
    if not layout.by_epoch:
        return {score.key: score.heading for score in layout.scores if score.key in found}
    (score,) = layout.scores
    last = max((int(name.removeprefix(f"{score.key}_")) for name in found), default=0)
    # The paper's epochs, and the last of a run that trained on.
    epochs = sorted({*EPOCHS, *([last] if last > max(EPOCHS) else [])})
    return {f"{score.key}_{epoch}": f"{epoch} epoch{'s' * (epoch > 1)}" for epoch in epochs}


def _place(name: object, order: Sequence[object]) -> int:
    return order.index(name) if name in order else len(order)


def _other_protocol(row: Row) -> str:
    return "" if row.protocol == "paper" else row.protocol


def _place_of_weights(row: Row, _: TableLayout) -> int:
    """As in the papers: random, ImageNet, others; then our own."""
    named = list(WEIGHTS.values())
    return _place(row.weights, named) + (row.origin == MEASURED and row.weights not in named)


PLACES: dict[str, Callable[[Row, TableLayout], Any]] = {
    "modality": lambda row, _: list(MODALITIES).index(row.modality),
    "approach": lambda row, layout: _place(row.approach, layout.approaches),
    "joined": lambda row, _: row.joined,
    "backbone": lambda row, _: row.backbone,
    "protocol": lambda row, _: _other_protocol(row),
    "weights": _place_of_weights,
    "origin": lambda row, _: row.origin == MEASURED,
    "name": lambda row, _: row.weights,
}
"""Sort keys of rows by the names in `TableLayout.order`; rows without a backbone come first."""
