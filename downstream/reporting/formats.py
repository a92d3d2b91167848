"""The tables and exhibits of the report as Markdown, CSV and one self-contained HTML page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from importlib import resources
from string import ascii_lowercase

import jinja2
from markupsafe import Markup

from downstream.exhibits import Exhibit
from downstream.reporting.rows import Row
from downstream.reporting.tables import MODALITIES, Table
from pretrain.scores import NATS, PERCENT
from shards.csv_text import csv_text
from shards.untrusted_text import as_text

CSV_COLUMNS = (
    *("benchmark", "origin", "weights", "weights_in_full", "backbone", "input", "approach", "protocol", "score"),
    *("mean_percent", "sd_percent", "train_fraction", "seeds", "conditions", "notes", "source"),
)
"""After them, mean and standard deviation of scores in other units than percent."""


def markdown(tables: Sequence[Table], exhibits: Sequence[Exhibit] = ()) -> str:
    """The tables as GitHub's Markdown, and the exhibits, whose pictures lie beside it."""
    parts = ["# Downstream results\n"]
    for table in tables:
        letters = dict(zip(table.sources, ascii_lowercase, strict=False))
        described = _headings(table)
        lines = [
            [*described, *table.columns.values(), "Training data", "Seeds", "Origin"],
            [*["---"] * len(described), *["---:"] * (len(table.columns) + 1), "---", "---"],
        ]
        for row in table.rows:
            marks = "".join(f" [{table.notes.index(note) + 1}]" for note in row.all_notes)
            origin = as_text(row.origin)
            origin = f"{origin} [{letters[row.source]}]" if row.source else f"**{origin}**"
            said = {
                "Weights": as_text(row.weights) + marks,
                "Backbone": as_text(row.backbone or "–"),
                "Input": as_text(_input(row)),
                "Approach": as_text(row.approach),
                "Protocol": as_text(row.protocol),
            }
            figures = (str(row.figures.get(name, "–")) for name in table.columns)
            lines.append([*(said[name] for name in described), *figures, _share(row), row.seeds or "–", origin])
        parts.append(f"## {table.title}\n\n{table.layout.caption}\n")
        parts.append("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n")
        parts += [f"- [{number}] {as_text(note)}" for number, note in enumerate(table.notes, 1)]
        parts += [f"- [{letter}] {source}" for source, letter in letters.items()]
        parts.append("")
    for exhibit in exhibits:
        parts.append(f"## {exhibit.title}\n\n{as_text(exhibit.caption)}\n\n![{exhibit.title}]({exhibit.name}.png)\n")
    return "\n".join(parts)


def _headings(table: Table) -> list[str]:
    """Headings of the columns that describe a row."""
    shown = {"Input": table.shows_input, "Approach": table.shows_approach, "Protocol": table.shows_protocol}
    return ["Weights", "Backbone", *(name for name, is_shown in shown.items() if is_shown)]


def _input(row: Row) -> str:
    return MODALITIES[row.modality] + (f" ({row.joined})" if row.joined else "")


def _share(row: Row) -> str:
    return "not published" if row.train_fraction is None else f"{row.train_fraction:.0%}"


def comma_separated(tables: Sequence[Table]) -> str:
    """Every figure on a line of its own, in columns of its unit."""
    rows = [row for table in tables for row in table.rows]
    # Percent has its columns amid the others; nats have theirs in every file.
    units = dict.fromkeys([NATS.name, *(figure.unit.name for row in rows for figure in row.figures.values())])
    others = [unit for unit in units if unit != PERCENT.name]
    header = [*CSV_COLUMNS, *(f"{end}_{unit}" for unit in others for end in ("mean", "sd"))]
    lines: list[list[object]] = []
    for row in rows:
        fraction = "" if row.train_fraction is None else f"{row.train_fraction:.4f}"
        for name, figure in row.figures.items():
            values = [f"{figure.mean:.4f}", "" if figure.sd is None else f"{figure.sd:.4f}"]
            percent, *rest = (values if unit == figure.unit.name else ["", ""] for unit in (PERCENT.name, *others))
            lines.append(
                [
                    *(row.benchmark, row.origin, row.weights, row.weights_in_full, row.backbone),
                    *(row.joined or row.modality, row.approach, row.protocol, name, *percent),
                    *(fraction, row.seeds, "; ".join(row.conditions), "; ".join(row.notes), row.source),
                    *(value for pair in rest for value in pair),
                ]
            )
    return csv_text(header, lines)


def page(tables: Sequence[Table], exhibits: Sequence[Exhibit] = ()) -> str:
    """The tables and exhibits as one self-contained HTML page."""
    shown = [(exhibit, base64.b64encode(exhibit.png).decode("ascii")) for exhibit in exhibits]
    template = templates().get_template("report.html.j2")
    return template.render(style=Markup(stylesheet()), tables=tables, exhibits=shown)


def templates() -> jinja2.Environment:
    """The templates of the report; the macro `scores` of `scores.html.j2` draws one of its tables in any page."""
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(_template),
    )
    environment.filters |= {"share": _share, "input": _input}
    environment.globals["letters"] = ascii_lowercase
    return environment


def stylesheet() -> str:
    """The style of the report, for pages that look like it."""
    return _template("report.css")


def _template(name: str) -> str:
    return resources.files("downstream.reporting").joinpath("templates", name).read_text(encoding="utf-8")
