"""`metrics.json` of an evaluation: its path, reading it, and printing it as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrain.ranking_scores import DIRECTIONS, MEDIAN_RANK, RECALL_AT_10_PERCENT, RECALLS
from pretrain.scores import Score
from shards.atomic_files import read_json
from shards.errors import UserError

METRICS_NAME = "metrics.json"
REPORT_NAME = "report.html"
LABEL_ONLY = "label_only"
SHOWN = (RECALLS[1], RECALLS[5], RECALLS[10], RECALL_AT_10_PERCENT, MEDIAN_RANK)
"""The scores of the printed table."""


def read_evaluation(out: Path) -> dict[str, Any]:
    """The metrics of the evaluation in the folder `out`.

    Raises:
        UserError: the folder holds no finished evaluation.
    """
    try:
        metrics: dict[str, Any] = read_json(out / METRICS_NAME)
    except UserError as error:
        raise UserError(f"no evaluation at {out} ({error}); make one with evaluate") from error
    if not (out / REPORT_NAME).is_file():
        raise UserError(f"the evaluation at {out} is not finished: it has no {REPORT_NAME}; evaluate again")
    return metrics


@dataclass(frozen=True)
class ShowOptions:
    """Prints the scores of an existing evaluation."""

    out: Path
    """The --out folder of evaluate."""

    def check(self) -> None:
        """Checks that the folder holds a finished evaluation.

        Raises:
            UserError: it does not.
        """
        read_evaluation(self.out)


def show(options: ShowOptions) -> None:
    """Prints the scores of an existing evaluation.

    Raises:
        UserError: the folder holds no finished evaluation.
    """
    print_scores(read_evaluation(options.out))
    print(f"report: {options.out / REPORT_NAME}")


def print_scores(metrics: dict[str, Any]) -> None:
    """Prints the scores of both directions and of chance."""
    from rich.console import Console
    from rich.table import Table

    n = metrics["gallery_size"]
    table = Table(title=f"{metrics['split']} split, {n} pairs, protocol {metrics['protocol']}", title_justify="left")
    table.add_column("")
    for shown in SHOWN:
        k = f" (k={-(-n // 10)})" if shown is RECALL_AT_10_PERCENT else ""
        table.add_column(shown.heading + k, justify="right")
    for part, words in (DIRECTIONS | {"chance": "chance", LABEL_ONLY: "label known only"}).items():
        if metrics[part]:
            table.add_row(words, *(_cell(shown, metrics[part][shown.key]) for shown in SHOWN))
    Console(width=100).print(table)


def _cell(of: Score, value: float | None) -> str:
    return "-" if value is None else f"{value:.{3 if of.is_fraction else 1}f}"
