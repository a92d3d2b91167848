"""Reporting of a kind of benchmark: scores, tables, and details that distinguish rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pretrain.scores import Score

if TYPE_CHECKING:
    from downstream.results import Results

BY_BACKBONE = ("modality", "backbone", "protocol", "weights", "origin")
"""Blocks of one encoder; in each the weights as papers list them, published rows first."""


@dataclass(frozen=True)
class TableLayout:
    """One table of the report.

    Attributes:
        name: unique within the kind.
        scores: its columns.
        caption: what its figures are.
        title: follows the benchmark's own.
        by_epoch: whether columns are epochs of fine-tuning, under which the first score stands, in place of scores.
        order: what rows are sorted by, as `downstream.reporting.tables.PLACES` names it.
        approaches: the values of a row's approach, in their order.
    """

    name: str
    scores: tuple[Score, ...]
    caption: str
    title: str = ""
    by_epoch: bool = False
    order: tuple[str, ...] = BY_BACKBONE
    approaches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A row that results make.

    Attributes:
        table: name of its layout.
        part: key of the object within an epoch's scores that is shown; empty for the scores themselves.
        modality: "image", "sound", "both", or empty where the benchmark has one alone.
        joined: what else its input is, such as how image and sound are joined.
        approach: what is compared under the names of a paper, such as losses.
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
    """

    scores: tuple[Score, ...]
    tables: tuple[TableLayout, ...]
    entries: Callable[[Results], Sequence[Entry]] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    names_head: bool = True

    def entries_of(self, results: Results) -> Sequence[Entry]:
        """The rows that results make."""
        return self.entries(results) if self.entries else [Entry(self.tables[0].name)]

    def layout(self, name: str) -> TableLayout:
        """The layout of a name; the first for the empty one."""
        return next(table for table in self.tables if name in ("", table.name))
