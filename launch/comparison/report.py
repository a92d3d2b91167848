"""Writes `OUT/report/`: the comparison as Markdown, CSV, a self-contained HTML page, a figure, and published tables."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

from markupsafe import Markup

from downstream.reporting.formats import stylesheet, templates
from downstream.reporting.tables import Table as PublishedTable
from downstream.running.pictures import png_of, save_figure
from launch.comparison.contents import Comparison, compare
from launch.comparison.figure import draw
from launch.comparison.outcomes import PlannedRow, read_outcome
from launch.comparison.published_tables import NAMES, published_tables, texts_of
from launch.comparison.table import COSTS, Column, Line, Table
from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text
from shards.errors import UserError
from shards.untrusted_text import as_text

FOLDER_NAME = "report"
MARKDOWN_NAME, CSV_NAME, RUNS_NAME = "comparison.md", "comparison.csv", "runs.csv"
PAGE_NAME, FIGURE_NAME = "comparison.html", "comparison.png"

RUN_COLUMNS = ("number", "method", "backbone", "seed", "state", "reason")


class Plan(Protocol):
    """The interface of a plan that the report needs."""

    @property
    def name(self) -> str:
        """The title."""


def write_report(plan: Plan, rows: Sequence[PlannedRow], out: Path) -> Path:
    """Writes `<out>/report/` from the rows' current files; unfinished rows are counted and listed.

    Args:
        plan: the plan, for the title.
        rows: its rows, in order.
        out: folder of the comparison.

    Returns:
        The path of `comparison.html`.

    Raises:
        UserError: a row's file is invalid, or the folder can't be written.
    """
    benchmarks = {job.label: job.benchmark for row in rows for job in row.benchmarks}
    comparison = compare(plan.name, [read_outcome(row) for row in rows], benchmarks)
    folder = out / FOLDER_NAME
    beside = published_tables(rows)
    if beside:
        comparison.notes.append(
            f"Among the published tables of their benchmarks, these results are at the end of {PAGE_NAME} and in "
            f"{NAMES[0]}: {', '.join(dict.fromkeys(table.title for table in beside))}."
        )
    picture, narrow = draw(comparison), draw(comparison, panels_per_row=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if picture is None:
            (folder / FIGURE_NAME).unlink(missing_ok=True)
        else:
            save_figure(picture, folder / FIGURE_NAME)
        png = None if picture is None else (folder / FIGURE_NAME).read_bytes()
        write_text_atomically(folder / MARKDOWN_NAME, markdown(comparison, has_figure=png is not None))
        write_text_atomically(folder / CSV_NAME, comma_separated(comparison))
        write_text_atomically(folder / RUNS_NAME, runs_comma_separated(comparison))
        write_text_atomically(
            folder / PAGE_NAME, page(comparison, png, beside, narrow=None if narrow is None else png_of(narrow))
        )
        for name, text in texts_of(beside).items():
            if beside:
                write_text_atomically(folder / name, text)
            else:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"out {out} can't be written: {error.strerror}; give another --out") from error
    return folder / PAGE_NAME


def markdown(comparison: Comparison, *, has_figure: bool = False) -> str:
    """Renders the tables as GitHub-flavoured Markdown."""
    parts = [f"# {as_text(comparison.name)}\n", f"{as_text(comparison.notes[0])}\n"]
    for table in comparison.tables:
        rows = [["Method", "Backbone", *(column.title for column in table.columns)]]
        rows += [[line.method + table.mark(line), line.backbone_title] for line in table.lines]
        cells = [[as_text(text) for text in row] for row in rows]
        for row, line in zip(cells[1:], table.lines, strict=True):
            row += [_figure(table, line, column) for column in table.columns]
        if table.chance:
            shown = (column.show(table.chance[column.key]) for column in table.columns)
            cells.append(["*chance*", "", *shown])
        cells.insert(1, ["---", "---", *["---:"] * len(table.columns)])
        lines = "\n".join("| " + " | ".join(row) + " |" for row in cells)
        parts.append(f"## {as_text(table.title)}\n\n{as_text(table.caption)}\n\n{lines}\n")
    if has_figure:
        parts.append(f"![Every seed, and mean ± standard deviation, by method]({FIGURE_NAME})\n")
    parts += [f"- {as_text(note)}" for note in comparison.notes[1:]]
    return "\n".join(parts).rstrip() + "\n"


def _figure(table: Table, line: Line, column: Column) -> str:
    figure = line.figures.get(column.key)
    if figure is None:
        return "–"
    mean = column.show(figure.mean)
    text = f"● **{mean}**" if table.is_among_best(line, column) else mean
    text += "" if figure.sd is None else f" ± {column.show(figure.sd)}"
    if column.key in line.intervals:
        text += f" [{column.interval(line.intervals[column.key])}]"
    difference = table.from_best(line, column)
    if difference is not None and difference.mean != 0:
        text += f" ({column.difference(difference.mean)}"
        text += ")" if difference.sd is None else f" ± {column.show(difference.sd)})"
    return f"{text} (n = {figure.n})" if table.is_partial(line, column) else text


def comma_separated(comparison: Comparison) -> str:
    """CSV with one line per method and backbone, in the files' units.

    For each score: mean, deviation and number of seeds; mean and deviation of its differences from the best mean on the
    backbone, seed by seed; for those that have them, the means of the bounds of 95 % intervals over queries.
    """
    tables = [table for table in comparison.tables if not table.is_published]
    bounded = {key for line in comparison.lines for key in line.intervals}
    header = ["method", "backbone", "image_only", "num_planned"]
    for table in tables:
        for column in table.columns:
            header += [f"{column.key}{end}" for end in ("_mean", "_sd", "_n")]
            header += [f"{column.key}_from_best{end}" for end in ("_mean", "_sd")]
            header += [f"{column.key}_{end}" for end in ("low", "high")] if column.key in bounded else []
            header += [f"{column.key}_chance"] if column.key in table.chance else []
    rows: list[list[object]] = []
    for line in comparison.lines:
        row: list[object] = [line.method, line.backbone, line.image_only, line.num_planned]
        for table in tables:
            for column in table.columns:
                figure = line.figures.get(column.key)
                row += ["", "", 0] if figure is None else [figure.mean, figure.sd, figure.n]
                difference = table.from_best(line, column)
                row += ["", ""] if difference is None else [difference.mean, difference.sd]
                row += line.intervals.get(column.key, ("", "")) if column.key in bounded else []
                row += [table.chance[column.key]] if column.key in table.chance else []
        rows.append(row)
    return csv_text(header, rows)


def runs_comma_separated(comparison: Comparison) -> str:
    """CSV with one line per run and all its scores, then the bounds of their 95 % intervals, in the files' units."""
    keys = list(dict.fromkeys(key for outcome in comparison.outcomes for key in outcome.scores))
    bounded = list(dict.fromkeys(key for outcome in comparison.outcomes for key in outcome.intervals))
    names = (*RUN_COLUMNS, *(cost.key for cost in COSTS))
    rows = (
        [
            *(getattr(outcome, name) for name in names),
            *(outcome.scores.get(key) for key in keys),
            *(bound for key in bounded for bound in outcome.intervals.get(key, (None, None))),
        ]
        for outcome in comparison.outcomes
    )
    return csv_text([*names, *keys, *(f"{key}_{end}" for key in bounded for end in ("low", "high"))], rows)


def page(
    comparison: Comparison,
    png: bytes | None,
    published: Sequence[PublishedTable] = (),
    *,
    narrow: bytes | None = None,
) -> str:
    """Renders the comparison as a self-contained HTML page that looks like the downstream report.

    Args:
        comparison: the contents.
        png: the figure, if there is one.
        published: tables of the benchmarks that have published figures, shown folded.
        narrow: the figure with one panel in a row, for narrow screens; None: the same figure.
    """
    text = resources.files("launch.comparison").joinpath("templates/comparison.html").read_text(encoding="utf-8")
    return (
        templates()
        .from_string(text)
        .render(
            style=Markup(stylesheet()),
            comparison=comparison,
            png=_encoded(png),
            narrow=_encoded(narrow),
            published=published,
        )
    )


def _encoded(png: bytes | None) -> str | None:
    return None if png is None else base64.b64encode(png).decode("ascii")
