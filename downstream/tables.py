"""Reporting of a kind of benchmark: scores, tables, and details that distinguish rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pretrain.scores import Score

if TYPE_CHECKING:
    from downstream.results import Results

BY_BACKBONE = ("modality", "backbone", "protocol", "weights", "origin")
"""Order of rows: blocks of one encoder, within them the weights as papers list them, published rows first."""


@dataclass(frozen=True)
class TableLayout:
    """One table of the report.

    Attributes:
        name: unique within the kind.
        scores: its columns.
        caption: explanation of its figures.
        title: appended to the benchmark's title.
        by_epoch: whether columns are epochs of fine-tuning with the first score, instead of scores.
        order: sort keys of the rows, names in `downstream.reporting.tables.PLACES`.
        approaches: the possible values of a row's approach, in order.
        is_drawn: whether the report also draws its scores by approach; its scores are percentages then.
    """

    name: str
    scores: tuple[Score, ...]
    caption: str
    title: str = ""
    by_epoch: bool = False
    order: tuple[str, ...] = BY_BACKBONE
    approaches: tuple[str, ...] = ()
    is_drawn: bool = False


@dataclass(frozen=True)
class Entry:
    """A table row for a result.

    Attributes:
        table: name of its layout.
        part: key of the shown object within an epoch's scores; empty for the scores themselves.
        modality: "image", "sound", "both", or empty if the benchmark has a single modality.
        joined: further description of the input, such as how image and sound are combined.
        approach: what a paper's table compares, such as losses.
    """

    table: str
    part: str = ""
    modality: str = ""
    joined: str = ""
    approach: str = ""


@dataclass(frozen=True)
class Reporting:
    """Contents of a kind's results and how they are shown; to add a score, add it to `scores`.

    Attributes:
        scores: headline scores of a result, which comparisons and model cards show.
        tables: of the report, in their order.
        entries: the rows of results; one in the first table by default.
        details: entries of `Results.details` by which runs differ → how a row's note says their value, such as
            "teacher {}"; empty where it need not.
        names_head: whether notes say what the head sits on.
        exhibits: `module:function` each, from the runs of one benchmark (a list of `ShownRun`) to a list of `Exhibit`.
    """

    scores: tuple[Score, ...]
    tables: tuple[TableLayout, ...]
    entries: Callable[[Results], Sequence[Entry]] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    names_head: bool = True
    exhibits: tuple[str, ...] = ()

    def entries_of(self, results: Results) -> Sequence[Entry]:
        """The rows of a result."""
        return self.entries(results) if self.entries else [Entry(self.tables[0].name)]

    def layout(self, name: str) -> TableLayout:
        """The layout with this name; the first one for an empty name."""
        return next(table for table in self.tables if name in ("", table.name))
