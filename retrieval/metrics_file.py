"""`metrics.json` of an evaluation: its path, reading it, and printing it as a table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NotRequired,  # pydantic takes that of Python 3.12 or this one
)

from pydantic import Field
from typing_extensions import TypedDict

from pretrain.ranking.scores import DIRECTIONS, MEDIAN_RANK, NDCG_AT_10, RECALL_AT_10_PERCENT, RECALLS, Intervals
from pretrain.scores import Score
from retrieval.certainty import LABEL_ONLY as LABEL_ONLY
from retrieval.certainty import certainty_lines, interval_of
from shards.errors import UserError
from shards.records import Count, checked, read_json_as
from shards.untrusted_text import as_line

if TYPE_CHECKING:
    from rich.table import Table

METRICS_NAME = "metrics.json"
REPORT_NAME = "report.html"
WITHOUT_REPEATED = "without_repeated_images"
PUBLISHED = "published"
OVERLAP = "overlap_with_training"
SHOWN = (RECALLS[1], RECALLS[5], RECALLS[10], RECALL_AT_10_PERCENT, MEDIAN_RANK)
"""The scores of the printed table."""
UNIT_WORDS = "recalls in percent"


class Scored(TypedDict):
    """What is known of the types in the scores of a gallery."""

    gallery_size: Annotated[int, Field(ge=1, lt=2**63)]
    image_to_sound: dict[str, Any]
    sound_to_image: dict[str, Any]
    chance: dict[str, Any]
    label_only: NotRequired[dict[str, Any] | None]
    intervals: NotRequired[Intervals]
    """Evaluations of earlier versions have none."""


class WithoutRepeated(Scored):
    """Scores without pairs of repeated images."""

    num_left_out: Count


class PublishedFigures(TypedDict):
    """Figures of a model that was published."""

    model: str
    direction: str
    scores: dict[str, float]
    note: str


class Published(TypedDict):
    """What was published of the protocol."""

    source: str
    gallery_size: int | None
    gallery_differs: str | None
    figures: list[PublishedFigures]


class Metrics(Scored):
    """What is known of the types in `metrics.json`."""

    protocol: str
    split: NotRequired[str]
    without_repeated_images: NotRequired[WithoutRepeated | None]
    published: NotRequired[Published | None]
    overlap_with_training: NotRequired[dict[str, int | None] | None]


def read_metrics(path: Path, remedy: str = "") -> dict[str, Any]:
    """The scores of an evaluation.

    Args:
        path: its `metrics.json`.
        remedy: what to do if it is damaged; appended to the message.

    Raises:
        UserError: it is missing or damaged.
    """
    return checked(Metrics, read_json_as(dict[str, Any], path, remedy), str(path), remedy)


def read_evaluation(out: Path) -> dict[str, Any]:
    """The metrics of the evaluation in the folder `out`.

    Raises:
        UserError: the folder holds no finished evaluation.
    """
    try:
        metrics = read_metrics(out / METRICS_NAME)
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
    """Prints the scores of both directions, with their 95 % intervals, and of chance.

    Once more without pairs of repeated images, if there are; then sentences on what to know of the scores.
    """
    from rich.console import Console

    n = metrics["gallery_size"]
    console = Console(width=100)
    split, protocol = as_line(metrics.get("split", "")), as_line(metrics["protocol"])
    console.print(_table(f"{split} split, {n} pairs, protocol {protocol}; {UNIT_WORDS}", metrics))
    # Evaluations of earlier versions have no such scores.
    if others := metrics.get(WITHOUT_REPEATED):
        n = others["num_left_out"]
        left_out = f"{n} pair{'s' * (n > 1)} whose image is also in training or earlier in the split"
        console.print(_table(f"without {left_out}: {others['gallery_size']} pairs; {UNIT_WORDS}", others))
    for words in (*certainty_lines(metrics), *published_lines(metrics), describe_overlap(metrics.get(OVERLAP))):
        if words:
            print(words)


def published_lines(metrics: dict[str, Any]) -> list[str]:
    """Lines on what was published of the protocol: the scores of models, and whether the gallery has the same size."""
    published = metrics.get(PUBLISHED)
    if not published:
        return []
    headings = {score.key: score for score in (*RECALLS.values(), MEDIAN_RANK)}
    lines = []
    for figures in published["figures"]:
        scores = [
            f"{headings[name].heading} {_cell(headings[name], value)}{' %' * headings[name].is_percent}"
            for name, value in figures["scores"].items()
            if name in headings
        ]
        direction = DIRECTIONS.get(figures["direction"], "")
        note = f" ({as_line(figures['note'])})" if figures["note"] else ""
        lines.append(f"published, {as_line(figures['model'])}, {direction}: {', '.join(scores)}{note}")
    lines = [f"{as_line(published['source'])}", *lines] if lines else lines
    return [*lines, *([as_line(published["gallery_differs"])] if published["gallery_differs"] else [])]


def describe_overlap(overlap: dict[str, int | None] | None) -> str:
    """A sentence on the counts; empty if there are none."""
    if not overlap:
        return ""
    words = {
        "same_image": "have the same image as a training pair",
        "within_100_m": "have a training place within 100 m",
        "within_1000_m": "have one within 1 km",
    }
    parts = [
        f"{'an unknown number' if overlap.get(name) is None else format(overlap[name], ',')} {phrase}"
        for name, phrase in words.items()
    ]
    return f"of {overlap['num_queries']:,} queries, {parts[0]}, {parts[1]}, and {parts[2]}"


def _table(title: str, metrics: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("")
    columns = [*SHOWN, *([NDCG_AT_10] if NDCG_AT_10.key in metrics["chance"] else [])]
    for shown in columns:
        k = f" (k={-(-metrics['gallery_size'] // 10)})" if shown is RECALL_AT_10_PERCENT else ""
        table.add_column(shown.heading + k, justify="right")
    for part, words in (DIRECTIONS | {"chance": "chance", LABEL_ONLY: "label known only"}).items():
        if metrics.get(part):
            table.add_row(words, *(_cell(shown, shown.value_in(metrics[part])) for shown in columns))
        bounds = [interval_of(metrics, part, shown) for shown in columns]
        if any(bounds):
            ends = [" – ".join(_cell(of, end) for end in b) if b else "" for of, b in zip(columns, bounds, strict=True)]
            table.add_row("  95 %", *ends, style="dim")
    return table


def _cell(of: Score, value: float | None) -> str:
    return "-" if value is None else of.unit.show(value)
