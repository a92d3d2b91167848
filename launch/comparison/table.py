"""A table of means ± standard deviations over seeds: its columns and their units, its lines, and which mean is best."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from downstream.reporting.published import BACKBONES
from pretrain.scores import COUNT, GIGABYTES, SECONDS, Score

COSTS = (
    Score("training_seconds", "Training", SECONDS, "neither"),
    Score("wall_seconds", "Wall time", SECONDS, "neither"),
    Score("steps", "Steps", COUNT, "neither"),
    Score("pairs_seen", "Pairs seen", COUNT, "neither"),
    Score("peak_memory_bytes", "Peak memory", GIGABYTES, "neither"),
)
"""What a row took: attributes of `RowOutcome`."""
DAGGER = "†"


@dataclass(frozen=True)
class Statistic:
    """A score over seeds.

    Attributes:
        mean: over the seeds that have it.
        sd: sample standard deviation over them; None for a single one.
        n: how many they are.
    """

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic:
        """Of one value or more."""
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: by which lines hold its figures, such as "aid/accuracy".
        score: what it shows.
        heading: first line, such as the benchmark.
        detail: second line, such as the score.
    """

    key: str
    score: Score
    heading: str
    detail: str = ""

    @property
    def title(self) -> str:
        """Both lines in one."""
        return f"{self.heading}, {self.detail}" if self.detail else self.heading

    def show(self, value: float) -> str:
        """A value in the score's unit."""
        return self.score.unit.show(value)


@dataclass(frozen=True)
class Line:
    """One method on one backbone.

    Attributes:
        method: its label.
        backbone: its name in `pretrain.encoders.ENCODERS`.
        figures: by column.
        image_only: whether its sound tower is not trained.
        num_planned: seeds in the plan; None for published figures.
    """

    method: str
    backbone: str
    figures: dict[str, Statistic]
    image_only: bool = False
    num_planned: int | None = None

    @property
    def backbone_title(self) -> str:
        """The backbone as papers write it."""
        return BACKBONES.get(self.backbone, self.backbone)


@dataclass(frozen=True)
class Table:
    """Some columns of all lines.

    Attributes:
        title: what they are about.
        caption: what readers have to know.
        columns: from left to right.
        lines: by backbone and method, in the plan's order.
        chance: of a random order, by column, where it is known.
        is_retrieval: whether image-only methods are at chance in it.
    """

    title: str
    caption: str
    columns: list[Column]
    lines: list[Line]
    chance: dict[str, float] = field(default_factory=dict)
    is_retrieval: bool = False

    @property
    def is_published(self) -> bool:
        """Whether the figures are the paper's."""
        return any(line.num_planned is None for line in self.lines)

    def mark(self, line: Line) -> str:
        """What stands behind the name of a method."""
        return f" {DAGGER}" if self.is_retrieval and line.image_only else ""

    def is_best(self, line: Line, column: Column) -> bool:
        """Whether no mean of the column beats this one on its backbone, and there is another to compare it with."""
        rivals = [
            other.figures[column.key].mean
            for other in self.lines
            if other.backbone == line.backbone and column.key in other.figures
        ]
        best = {"higher": max, "lower": min}.get(column.score.better)
        if self.is_published or best is None or column.key not in line.figures or len(rivals) < 2:
            return False
        return line.figures[column.key].mean == best(rivals)

    def is_partial(self, line: Line, column: Column) -> bool:
        """Whether seeds of the plan are missing from a figure that others of them have."""
        figure = line.figures.get(column.key)
        return figure is not None and line.num_planned is not None and figure.n < line.num_planned
