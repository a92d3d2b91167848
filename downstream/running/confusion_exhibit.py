"""The confusion matrices of runs, one below the other on one colour scale, from their results or predictions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from downstream.exhibits import Exhibit, ShownRun
from downstream.results import PREDICTIONS_NAME
from downstream.running.confusion_picture import Confusion, draw_confusions
from downstream.running.pictures import png_of, shortened
from shards.csv_text import safe_cell
from shards.errors import UserError
from shards.records import as_number, read_bytes_within

MOST_RUNS = 6
MOST_CLASSES = 100
MOST_BYTES = 1 << 26
TITLE_CHARACTERS = 70


@dataclass(frozen=True)
class _Counted:
    """A run's classes and how it confuses them."""

    run: ShownRun
    classes: tuple[str, ...]
    matrix: NDArray[np.int64]


def confusions_of_runs(runs: Sequence[ShownRun]) -> list[Exhibit]:
    """The matrices of up to six runs of one benchmark that have the same classes as the first.

    Raises:
        UserError: the predictions of a run can't be read.
    """
    counted = [found for run in runs if (found := _counted(run)) is not None]
    if not counted:
        return []
    alike = [found for found in counted if found.classes == counted[0].classes]
    shown = alike[:MOST_RUNS]
    png = png_of(draw_confusions([_confusion(found) for found in shown], shown[0].classes))
    benchmark = runs[0].results.benchmark
    some = f" of {len(runs)}" if len(shown) < len(runs) else ""
    number = f"{len(shown)}{some} run{'s' if len(runs) > 1 else ''}"
    caption = (
        f"Of {number}: counts of test items by their class (row) and the predicted class; colours are shares of a row, "
        "on one scale from 0 to 1."
    )
    return [Exhibit(f"{benchmark}-confusions", "Confusion matrices", caption, png)]


def _confusion(found: _Counted) -> Confusion:
    results = found.run.results
    right, total = int(np.trace(found.matrix)), int(found.matrix.sum())
    words = ", ".join(filter(None, [found.run.weights, found.run.backbone, results.protocol, f"seed {results.seed}"]))
    return Confusion(f"{right / max(total, 1):.1%} correct: {shortened(words, TITLE_CHARACTERS)}", found.matrix)


def _counted(run: ShownRun) -> _Counted | None:
    """Of the results where they state a matrix, else of `predictions.csv`, of its first seed; None without both."""
    details = run.results.details
    classes = details.get("classes")
    if not isinstance(classes, list) or not 2 <= len(classes) <= MOST_CLASSES:
        return None
    names = tuple(map(str, classes))
    if "confusion_matrix" in details:
        return _Counted(run, names, _stated(run, len(names)))
    path = run.folder / PREDICTIONS_NAME
    if not path.is_file():
        return None
    remedy = "run the benchmark again"
    text = read_bytes_within(path, MOST_BYTES, remedy).decode("utf-8", errors="replace")
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise UserError(f"{path} is not a table of comma-separated values ({error}); {remedy}") from error
    if not rows or not {"class", "predicted"} <= rows[0].keys():
        return None
    places = {str(safe_cell(name)): place for place, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), dtype=np.int64)
    for row in rows:
        if row.get("seed") == rows[0].get("seed"):
            if row["class"] not in places or row["predicted"] not in places:
                raise UserError(f"{path} names a class that {run.folder / 'results.json'} has not; {remedy}")
            matrix[places[row["class"]], places[row["predicted"]]] += 1
    return _Counted(run, names, matrix)


def _stated(run: ShownRun, n: int) -> NDArray[np.int64]:
    rows = run.results.details["confusion_matrix"]
    whole = isinstance(rows, list) and len(rows) == n and all(isinstance(row, list) and len(row) == n for row in rows)
    numbers = [as_number(value) for row in rows for value in row] if whole else [None]
    if any(value is None or not 0 <= value < 2**53 for value in numbers):
        raise UserError(
            f"details.confusion_matrix of the results in {run.folder} must be {n} rows of {n} counts; run the "
            "benchmark again"
        )
    return np.array(numbers, dtype=np.int64).reshape(n, n)
