"""The contents of the report: tables of the rows' outcomes, the paper's figures, and notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from downstream.benchmarks import kind_of
from launch.comparison.outcomes import RETRIEVAL, RETRIEVAL_SCORES, RowOutcome, State
from launch.comparison.published import SCORES, SOURCE, TABLE_VII
from launch.comparison.table import COSTS, DAGGER, Column, Line, Statistic, Table
from pretrain.ranking.scores import DIRECTIONS, RECALLS

STATES: dict[State, str] = {
    "failed": "failed",
    "training": "in training",
    "trained": "trained, but not scored on all benchmarks",
    "missing": "not started",
}

DAGGER_NOTE = (
    f"{DAGGER} trains on images alone and leaves the sound tower as initialised, so its retrieval is at chance by "
    "construction."
)
BEST_NOTE = (
    "± is the sample standard deviation over seeds. Bold and marked with ●: the best mean on each backbone, and all "
    "that can't be told from it: the mean difference, seed by seed, is within one standard deviation of these "
    "differences. With one seed there is no deviation, and nothing is marked."
)
DIFFERENCE_NOTE = (
    "Below a mean, with its sign: the mean difference from the best mean on the backbone, over the seeds that both "
    "have, ± the standard deviation of these differences."
)
INTERVAL_NOTE = (
    "In brackets: the 95 % interval over queries (bootstrap), the mean of the seeds' bounds. It says how far the test "
    "pairs could move a figure, the deviation how far the seed does."
)
RECALL_NOTE = (
    "{label}: recall@100 is undefined for galleries of fewer than 100 pairs ({size}); recall@10 is shown instead."
)


@dataclass(frozen=True)
class Comparison:
    """The contents of the report.

    Attributes:
        name: name of the plan.
        lines: by backbone and method, in the plan's order.
        tables: tables of measured figures, then of published ones.
        notes: progress of the plan, failures, and explanations of marks.
        outcomes: outcomes of the rows.
    """

    name: str
    lines: list[Line]
    tables: list[Table]
    notes: list[str]
    outcomes: list[RowOutcome]

    @property
    def columns(self) -> list[Column]:
        """The columns of all tables of measured figures."""
        return [column for table in self.tables if not table.is_published for column in table.columns]


def compare(name: str, outcomes: Sequence[RowOutcome], benchmarks: dict[str, str]) -> Comparison:
    """Assembles the contents of the report.

    Args:
        name: name of the plan.
        outcomes: outcomes of its rows, in order.
        benchmarks: label → benchmark, in the plan's order.
    """
    lines = _lines(outcomes)
    found = {key for line in lines for key in line.figures}
    retrieval = [label for label, benchmark in benchmarks.items() if benchmark == RETRIEVAL]
    tables = [_retrieval_table(label, lines, outcomes, found) for label in retrieval]
    downstream = [
        Column(f"{label}/{score.key}", score, label, score.name)
        for label, benchmark in benchmarks.items()
        if benchmark != RETRIEVAL
        for score in kind_of(benchmark).reporting.scores
    ]
    caption = (
        "Scores on the test split, or their mean over random splits, in percent unless a unit is given; after the last "
        "epoch, or after the epoch selected on the validation split if the benchmark has one."
    )
    tables.append(Table("Downstream benchmarks", caption, [c for c in downstream if c.key in found], lines))
    costs = [Column(cost.key, cost, cost.name) for cost in COSTS if cost.key in found]
    tables.append(Table("Cost of pre-training", _training_time(outcomes), costs, lines))
    tables.append(_published_table(lines, set(benchmarks.values())))
    tables = [table for table in tables if table.columns and table.lines]
    return Comparison(name, lines, tables, _notes(outcomes, tables), list(outcomes))


def _lines(outcomes: Sequence[RowOutcome]) -> list[Line]:
    groups: dict[tuple[str, str], list[RowOutcome]] = {}
    for backbone in dict.fromkeys(outcome.backbone for outcome in outcomes):
        for outcome in outcomes:
            if outcome.backbone == backbone:
                groups.setdefault((outcome.method, backbone), []).append(outcome)
    return [
        Line(
            method,
            backbone,
            _figures(group),
            all(outcome.image_only for outcome in group),
            len(group),
            _intervals(group),
        )
        for (method, backbone), group in groups.items()
    ]


def _figures(group: Sequence[RowOutcome]) -> dict[str, Statistic]:
    values: dict[str, dict[int, float]] = {}
    for outcome in group:
        for key, value in (outcome.scores | costs_of(outcome)).items():
            values.setdefault(key, {})[outcome.seed] = value
    return {key: Statistic.of(known) for key, known in values.items()}


def _intervals(group: Sequence[RowOutcome]) -> dict[str, tuple[float, float]]:
    """The means of the seeds' bounds, of scores whose every value has an interval."""
    means = {}
    for key in {key for outcome in group for key in outcome.intervals}:
        scored = [outcome for outcome in group if key in outcome.scores]
        if scored and all(key in outcome.intervals for outcome in scored):
            lows, highs = zip(*(outcome.intervals[key] for outcome in scored), strict=True)
            means[key] = (fmean(lows), fmean(highs))
    return means


def costs_of(outcome: RowOutcome) -> dict[str, float]:
    """The known costs of a row, by the keys of `COSTS`."""
    values = {cost.key: getattr(outcome, cost.key) for cost in COSTS}
    return {name: value for name, value in values.items() if value is not None}


def _retrieval_table(label: str, lines: list[Line], outcomes: Sequence[RowOutcome], found: set[str]) -> Table:
    has_100 = any(f"{label}/{direction}/{RECALLS[100].key}" in found for direction in DIRECTIONS)
    columns = [
        Column(key, score, score.heading, arrow)
        for direction, arrow in DIRECTIONS.items()
        for score in RETRIEVAL_SCORES
        if score is not (RECALLS[10] if has_100 else RECALLS[100])
        and (key := f"{label}/{direction}/{score.key}") in found
    ]
    sizes = sorted({outcome.gallery_sizes[label] for outcome in outcomes if label in outcome.gallery_sizes})
    caption = f"{' or '.join(f'{size:,}' for size in sizes)} pairs are ranked; recalls are in percent, rank 1 is best."
    if len(sizes) > 1:
        caption += " Gallery sizes differ, so these rows are not comparable."
    # Chance depends on the gallery size.
    scored = [outcome for outcome in outcomes if label in outcome.gallery_sizes] if len(sizes) == 1 else []
    chance = {key: value for outcome in scored for key, value in outcome.chance.items()}
    title = "Cross-modal retrieval" if label == RETRIEVAL else f"Cross-modal retrieval: {label}"
    return Table(title, caption, columns, lines, chance, is_retrieval=True)


def _training_time(outcomes: Sequence[RowOutcome]) -> str:
    limits = {outcome.max_seconds for outcome in outcomes if outcome.max_seconds is not None}
    if not limits:
        return "No row is trained."
    if limits == {0}:
        return "Training time was not limited."
    known = [outcome.training_seconds for outcome in outcomes if outcome.max_seconds is not None]
    times = [seconds for seconds in known if seconds is not None]
    had = f" Runs trained for {min(times):,.1f} to {max(times):,.1f} s." if times else ""
    if len(limits) > 1:
        return f"Limits of training time differ between the rows.{had}"
    limit = limits.pop()
    if times and min(times) >= limit:
        return f"Every run trained for {limit:,g} s, not counting validation and checkpoints."
    return f"Training time was limited to {limit:,g} s, not counting validation and checkpoints.{had}"


def _published_table(lines: Iterable[Line], benchmarks: set[str]) -> Table:
    columns = {
        i: Column(f"{name}/{score.key}", score, *([score.name] if name == RETRIEVAL else [name, score.name]))
        for i, (name, score) in enumerate(SCORES)
        if name in benchmarks
    }
    published = []
    for line in lines:
        values = TABLE_VII.get(line.method, {}).get(line.backbone)
        if values is not None:
            shares = {c.key: values[i] / c.score.unit.factor for i, c in columns.items()}
            figures = {key: Statistic(share, None, 1) for key, share in shares.items()}
            published.append(Line(line.method, line.backbone, figures, line.image_only))
    caption = f"{SOURCE}."
    if RETRIEVAL in benchmarks:
        caption += (
            " Its retrieval ranks about 10,000 test pairs of SoundingEarth, and is not comparable to ranks and recalls "
            "on other pairs or another number of pairs."
        )
    return Table("Published for these methods", caption, list(columns.values()), published)


def _has_difference(table: Table, line: Line, column: Column) -> bool:
    difference = table.from_best(line, column)
    return difference is not None and difference.mean != 0


def _notes(outcomes: Sequence[RowOutcome], tables: Sequence[Table]) -> list[str]:
    states = Counter(outcome.state for outcome in outcomes)
    counts = [f"{states['done']} of {len(outcomes)} runs are done"]
    counts += [f"{states[state]} {words}" for state, words in STATES.items() if states[state]]
    notes = ["; ".join(counts) + "."]
    notes += [
        f"Run {outcome.number} ({outcome.method}, {outcome.backbone}, seed {outcome.seed}) failed: {outcome.reason}"
        for outcome in outcomes
        if outcome.state == "failed"
    ]
    if any(not table.is_published for table in tables):
        notes.append(BEST_NOTE)
    cells = [(table, line, column) for table in tables for line in table.lines for column in table.columns]
    if any(_has_difference(*cell) for cell in cells):
        notes.append(DIFFERENCE_NOTE)
    if any(column.key in line.intervals for _, line, column in cells):
        notes.append(INTERVAL_NOTE)
    if any(table.is_partial(line, column) for table, line, column in cells):
        notes.append("(n = …): number of seeds with this score so far, if fewer than planned.")
    if any(table.mark(line) for table in tables for line in table.lines):
        notes.append(DAGGER_NOTE)
    sizes: dict[str, int] = {}
    for outcome in outcomes:
        for label, size in outcome.gallery_sizes.items():
            sizes[label] = max(size, sizes.get(label, 0))
    notes += [RECALL_NOTE.format(label=label, size=size) for label, size in sizes.items() if size < 100]
    return notes
