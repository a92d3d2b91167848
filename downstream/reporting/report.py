"""The verb `report`: results of many runs → one table a benchmark, beside the published figures."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import combinations
from pathlib import Path
from string import ascii_lowercase

import jinja2
from markupsafe import Markup

from downstream.benchmarks import BENCHMARKS
from downstream.reporting.published import EPOCHS, PUBLISHED
from downstream.reporting.published_tau import ABLATION, PUBLISHED_TAU
from downstream.reporting.published_tau import APPROACHES as TAU_APPROACHES
from downstream.reporting.published_transfer import PUBLISHED_TRANSFER
from downstream.reporting.rows import MEASURED, Row, Run, drawn_seeds, find_runs, row_of_published, rows_of_runs
from downstream.transfer.settings import APPROACHES
from shards.atomic_files import write_text_atomically
from shards.errors import UserError

NAMES = ("report.md", "report.csv", "report.html")

CSV_COLUMNS = (
    *("benchmark", "origin", "weights", "weights_in_full", "backbone", "input", "approach", "protocol", "score"),
    *("mean_percent", "sd_percent", "train_fraction", "seeds", "conditions", "notes", "source"),
    *("mean_nats", "sd_nats"),
)

FIXED_COLUMNS = {
    "log_loss": "Log loss",
    "accuracy": "Accuracy",
    "overall_accuracy": "OA",
    "mean_iou": "mIoU",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "mean_average_precision": "mAP",
}
TAU_CAPTION = "Log loss in nats and accuracy in percent over 1-s segments, means over classes, as Chen et al. (2022)"
CAPTIONS = {
    "paper": "Accuracy on the test part after so many epochs of fine-tuning, in percent (protocol paper).",
    "others": "Accuracy on the test part under the other protocols, in percent; mean ± standard deviation over draws.",
    "landcover": "Overall accuracy (OA, the mean of the tiles' accuracies) and mean intersection over union over the "
    "classes (mIoU) after the last epoch, in percent.",
    "audiovisual": "Logistic regression on frozen embeddings: means over classes weighted by their size, in percent.",
    "transfer": "Whole networks trained on the scenes' labels, on sound events, or on both: means over classes "
    "weighted by their size, in percent.",
    "tau-single": f"{TAU_CAPTION}; one modality, as in its Table 2.",
    "tau-both": f"{TAU_CAPTION}; both modalities, as in its Table 3.",
    "tau-ablation": f"{TAU_CAPTION}; what is seen, and the acoustic encoder, as in its Table 4.",
    "events": "Sound events: the mean over events of their average precision (mAP), and how often the most probable "
    "event is right, on the test part, in percent.",
}
TITLES = {
    "others": ", other protocols",
    "tau-single": ", one modality",
    "tau-both": ", both modalities",
    "tau-ablation": ", ablation",
}
MODALITIES = {"sound": "sound", "image": "image", "both": "image + sound"}
TAU_KINDS = ("tau-single", "tau-both", "tau-ablation")
ALL_PUBLISHED = (*PUBLISHED, *PUBLISHED_TRANSFER, *PUBLISHED_TAU)
ORDER_OF_WEIGHTS = ("Random", "ImageNet")


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        benchmark: its name.
        title: of the benchmark.
        kind: one of `CAPTIONS`.
        columns: of figures, by name, and their headings.
        rows: in the order shown.
    """

    benchmark: str
    title: str
    kind: str
    columns: dict[str, str]
    rows: list[Row]

    @property
    def caption(self) -> str:
        """What the figures are."""
        return CAPTIONS[self.kind]

    @property
    def shows_input(self) -> bool:
        """Whether its rows differ in what is seen and heard."""
        return any(row.modality for row in self.rows)

    @property
    def shows_approach(self) -> bool:
        """Whether its rows differ in their losses."""
        return any(row.approach for row in self.rows)

    @property
    def sources(self) -> list[str]:
        """Where its published rows are from, each once."""
        return list(dict.fromkeys(row.source for row in self.rows if row.source))

    @property
    def notes(self) -> list[str]:
        """What readers of its rows have to know, each once."""
        return list(dict.fromkeys(note for row in self.rows for note in row.all_notes))


def report_from(words: list[str]) -> None:
    """Carries out `report OUT... --out DIR`.

    Raises:
        UserError: a folder without results, two runs of one seed, or `--out` can't be written.
    """
    parser = argparse.ArgumentParser(
        prog="python downstream/run.py report",
        description="Merges results into one table a benchmark, beside the published figures: Markdown, CSV and HTML.",
    )
    parser.add_argument(
        "results", metavar="OUT", nargs="+", type=Path, help="--out of a benchmark, or a folder of such"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help=f"folder for {', '.join(NAMES)}")
    options = parser.parse_args(words)
    tables = build_tables(rows_of_runs(runs_of(options.results)))
    texts = dict(zip(NAMES, (markdown(tables), comma_separated(tables), page(tables)), strict=True))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text_atomically(options.out / name, text)
    except OSError as error:
        raise UserError(f"out {options.out} can't be written: {error.strerror}; name another --out") from error
    print(texts["report.md"], end="")
    print(f"\nreport: {options.out / 'report.html'}")


def runs_of(folders: Sequence[Path]) -> list[Run]:
    """The runs in folders, without those that another one trained within its own folder, unless they are named.

    Raises:
        UserError: a folder has no results, or two runs have the same settings and seed.
    """
    runs = {run.folder.resolve(): run for run in find_runs(folders)}
    named = {folder.resolve() for folder in folders}
    chosen = [run for place, run in runs.items() if place in named or runs.keys().isdisjoint(place.parents)]
    for one, other in combinations(chosen, 2):
        shared = sorted(drawn_seeds(one.results) & drawn_seeds(other.results))
        # The rows of two runs of one thing are as many as those of one.
        if shared and len(rows_of_runs([one, other])) == len(rows_of_runs([one])):
            seeds = f"seed{'s' if len(shared) > 1 else ''} {', '.join(map(str, shared))}"
            raise UserError(f"{one.folder} and {other.folder} share settings and {seeds}; omit one")
    return chosen


def build_tables(measured: Sequence[Row]) -> list[Table]:
    """Tables of measured rows with the published ones of the same benchmark among them."""
    kinds: dict[tuple[str, str], list[Row]] = {}
    for row in measured:
        kinds.setdefault((row.benchmark, _kind(row)), []).append(row)
    tables = []
    order = [(benchmark, kind) for benchmark in BENCHMARKS for kind in CAPTIONS]
    for (benchmark, kind), rows in sorted(kinds.items(), key=lambda entry: _place(entry[0], order)):
        known = [row_of_published(row) for row in ALL_PUBLISHED if row.benchmark == benchmark and kind != "others"]
        if kind in TAU_KINDS:
            known = [row for row in known if _kind(row) == kind]
        together = sorted([*known, *rows], key=lambda row: _sort_key(row, kind))
        title = BENCHMARKS[benchmark].title if benchmark in BENCHMARKS else benchmark
        title = title[:1].upper() + title[1:] + TITLES.get(kind, "")
        tables.append(Table(benchmark, title, kind, _columns(kind, together), together))
    return tables


def _kind(row: Row) -> str:
    if "log_loss" in row.figures:
        return TAU_KINDS[(row.approach != "") + (row.approach in ABLATION.values())]
    if row.approach:
        return "transfer"
    if "mean_average_precision" in row.figures:
        return "events"
    if row.modality:
        return "audiovisual"
    if "overall_accuracy" in row.figures:
        return "landcover"
    return "paper" if row.protocol == "paper" else "others"


def _place(name: object, order: Sequence[object]) -> int:
    return order.index(name) if name in order else len(order)


def _sort_key(row: Row, kind: str) -> tuple[object, ...]:
    """By input, backbone and protocol; then as in the papers: random, ImageNet, others, our runs; published first."""
    ours = row.origin == MEASURED
    weights = _place(row.weights, ORDER_OF_WEIGHTS) + (ours and row.weights not in ORDER_OF_WEIGHTS)
    modality = list(MODALITIES).index(row.modality) if row.modality else 0
    if kind in TAU_KINDS:
        return (modality, _place(row.approach, TAU_APPROACHES), row.joined, row.backbone, ours, row.weights)
    if kind == "transfer":
        return (modality, _place(row.approach, APPROACHES), ours, row.backbone, row.weights)
    # A row without a backbone of ours, such as two networks at once, comes before those that have one.
    return (modality, row.backbone, row.protocol if kind == "others" else "", weights, ours)


def _columns(kind: str, rows: Sequence[Row]) -> dict[str, str]:
    found = {name for row in rows for name in row.figures}
    if kind != "paper":
        return {name: heading for name, heading in FIXED_COLUMNS.items() if name in found}
    last = max((int(name.removeprefix("accuracy_")) for name in found), default=0)
    # The paper's epochs, and the last of a run that trained on.
    epochs = sorted({*EPOCHS, *([last] if last > max(EPOCHS) else [])})
    return {f"accuracy_{epoch}": f"{epoch} epoch{'s' * (epoch > 1)}" for epoch in epochs}


def _input(row: Row) -> str:
    return MODALITIES.get(row.modality, "") + (f" ({row.joined})" if row.joined else "")


def _share(row: Row) -> str:
    return "not published" if row.train_fraction is None else f"{row.train_fraction:.0%}"


def markdown(tables: Sequence[Table]) -> str:
    """The tables as GitHub's Markdown."""
    parts = ["# Downstream results\n"]
    for table in tables:
        shows_protocol = table.kind == "others"
        headings = [
            *("Weights", "Backbone"),
            *(["Input"] if table.shows_input else []),
            *(["Approach"] if table.shows_approach else []),
            *(["Protocol"] if shows_protocol else []),
            *table.columns.values(),
            *("Training data", "Seeds", "Origin"),
        ]
        letters = dict(zip(table.sources, ascii_lowercase, strict=False))
        lines = [headings, ["---:" if name in table.columns.values() else "---" for name in headings]]
        lines[1][-3] = "---:"
        for row in table.rows:
            marks = "".join(f" [{table.notes.index(note) + 1}]" for note in row.all_notes)
            lines.append(
                [
                    *(row.weights + marks, row.backbone or "–"),
                    *([_input(row)] if table.shows_input else []),
                    *([row.approach] if table.shows_approach else []),
                    *([row.protocol] if shows_protocol else []),
                    *(str(row.figures.get(name, "–")) for name in table.columns),
                    *(_share(row), row.seeds or "–"),
                    f"{row.origin} [{letters[row.source]}]" if row.source else f"**{row.origin}**",
                ]
            )
        parts.append(f"## {table.title}\n\n{table.caption}\n")
        parts.append("\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n")
        parts += [f"- [{number}] {note}" for number, note in enumerate(table.notes, 1)]
        parts += [f"- [{letter}] {source}" for source, letter in letters.items()]
        parts.append("")
    return "\n".join(parts)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def comma_separated(tables: Sequence[Table]) -> str:
    """Every figure on a line of its own, in percent, losses in nats."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for table in tables:
        for row in table.rows:
            for name, figure in row.figures.items():
                values = [f"{figure.mean:.4f}", "" if figure.sd is None else f"{figure.sd:.4f}"]
                percent, nats = (["", ""], values) if figure.in_nats else (values, ["", ""])
                fraction = "" if row.train_fraction is None else f"{row.train_fraction:.4f}"
                writer.writerow(
                    [
                        *(row.benchmark, row.origin, row.weights, row.weights_in_full, row.backbone),
                        *(row.joined or row.modality, row.approach, row.protocol, name, *percent),
                        *(fraction, row.seeds, "; ".join(row.conditions), "; ".join(row.notes), row.source),
                        *nats,
                    ]
                )
    return text.getvalue()


def page(tables: Sequence[Table]) -> str:
    """The tables as one self-contained HTML page."""
    folder = resources.files("downstream.reporting").joinpath("templates")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"share": _share, "input": _input}
    template = environment.from_string(folder.joinpath("report.html.j2").read_text(encoding="utf-8"))
    style = folder.joinpath("report.css").read_text(encoding="utf-8")
    return template.render(style=Markup(style), tables=tables, letters=ascii_lowercase)
