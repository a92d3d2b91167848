"""Tables of means ± standard deviations over seeds: columns with units, lines, and which means are the best."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
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
"""Costs of a row; the keys are attributes of `RowOutcome`."""
DAGGER = "†"


@dataclass(frozen=True)
class Statistic:
    """A score over seeds.

    Attributes:
        mean: mean over the seeds that have the score.
        sd: sample standard deviation over them; None for a single seed.
        n: number of these seeds.
        by_seed: their values; empty for published figures.
    """

    mean: float
    sd: float | None
    n: int
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @classmethod
    def of(cls, by_seed: Mapping[int, float]) -> Statistic:
        """The statistic of the values of one or more seeds."""
        values = list(by_seed.values())
        sd = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), sd, len(values), by_seed)

    def minus(self, other: Statistic) -> Statistic | None:
        """The differences of two scores, seed by seed; None if they share no seed."""
        shared = {seed: value - other.by_seed[seed] for seed, value in self.by_seed.items() if seed in other.by_seed}
        return Statistic.of(shared) if shared else None


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: key of its figures in the lines, such as "aid/accuracy".
        score: the shown score.
        heading: first line, such as the benchmark.
        detail: second line, such as the score.
    """

    key: str
    score: Score
    heading: str
    detail: str = ""

    @property
    def title(self) -> str:
        """Heading and detail on one line."""
        return f"{self.heading}, {self.detail}" if self.detail else self.heading

    def show(self, value: float) -> str:
        """Formats a value in the score's unit."""
        return self.score.unit.show(value)

    def interval(self, bounds: tuple[float, float]) -> str:
        """Formats the bounds of an interval."""
        return f"{self.show(bounds[0])} – {self.show(bounds[1])}"

    def difference(self, value: float) -> str:
        """Formats a difference of two values, with its sign."""
        return f"{'−' if value < 0 else '+'}{self.show(abs(value))}"


@dataclass(frozen=True)
class Line:
    """One method on one backbone.

    Attributes:
        method: label of the method.
        backbone: name of the encoder in `pretrain.encoders.ENCODERS`.
        figures: statistics by column key.
        image_only: whether the sound tower is not trained.
        num_planned: number of seeds in the plan; None for published figures.
        intervals: 95 % intervals over queries, by column key: the means of the seeds' lower and upper bounds.
    """

    method: str
    backbone: str
    figures: dict[str, Statistic]
    image_only: bool = False
    num_planned: int | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def backbone_title(self) -> str:
        """The backbone's name as written in papers."""
        return BACKBONES.get(self.backbone, self.backbone)


@dataclass(frozen=True)
class Table:
    """A table with some columns of all lines.

    Attributes:
        title: title of the table.
        caption: explanation for readers.
        columns: from left to right.
        lines: by backbone and method, in the plan's order.
        chance: known chance levels, by column key.
        is_retrieval: whether it is a retrieval table, in which image-only methods are at chance.
    """

    title: str
    caption: str
    columns: list[Column]
    lines: list[Line]
    chance: dict[str, float] = field(default_factory=dict)
    is_retrieval: bool = False

    @property
    def is_published(self) -> bool:
        """Whether the figures are from the paper."""
        return any(line.num_planned is None for line in self.lines)

    def mark(self, line: Line) -> str:
        """The mark after the name of a method."""
        return f" {DAGGER}" if self.is_retrieval and line.image_only else ""

    def from_best(self, line: Line, column: Column) -> Statistic | None:
        """How far a score is from that of the best mean on its backbone, seed by seed; 0 for the best itself.

        None for published figures and costs, if there is no other mean to compare with, or if no seed is shared.
        """
        rivals = [
            other.figures[column.key]
            for other in self.lines
            if other.backbone == line.backbone and column.key in other.figures
        ]
        best = {"higher": max, "lower": min}.get(column.score.better)
        if self.is_published or best is None or column.key not in line.figures or len(rivals) < 2:
            return None
        return line.figures[column.key].minus(best(rivals, key=lambda rival: rival.mean))

    def is_among_best(self, line: Line, column: Column) -> bool:
        """Whether a score can't be told from the best mean: the mean difference is within one standard deviation.

        The deviation is that of the differences between the same seeds, so that at least two are needed.
        """
        difference = self.from_best(line, column)
        return difference is not None and difference.sd is not None and abs(difference.mean) <= difference.sd

    @property
    def has_differences(self) -> bool:
        """Whether some score can't be told from the best mean, by the deviation over seeds."""
        return any(self.is_among_best(line, column) for line in self.lines for column in self.columns)

    def is_partial(self, line: Line, column: Column) -> bool:
        """Whether only some of the planned seeds have this figure."""
        figure = line.figures.get(column.key)
        return figure is not None and line.num_planned is not None and figure.n < line.num_planned
