"""`study report`: summarises the answers so far in a table, report.md, report.html, report.json and figures.png."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table

from retrieval.embedding import make_folder
from retrieval.exhibits import picture
from retrieval.study.answers import last_ones_in, raters_in
from retrieval.study.figure import LABELS, PublishedRate, draw_figure
from retrieval.study.folder import ANSWERS_NAME, MEDIA_FOLDER, REPORT_FOLDER, Study, StudyPair
from retrieval.study.options import StudyReportOptions
from retrieval.study.rates import RateSummary
from retrieval.study.tally import KINDS, Agreement, PairLine, Tally, tally
from shards.atomic_files import replaced_together
from shards.decoding.imagery import decode_jpeg
from shards.errors import UserError
from shards.untrusted_text import as_text

PAPER = {"true": PublishedRate(0.716, 0.121), "retrieved": PublishedRate(0.695, 0.131)}
PAPER_SOURCE = "Heidler et al., arXiv 2108.00688, section V-E: 15 raters, 35 pairs of each kind"
THUMBNAIL_PIXELS = 200
JSON_NAME, MARKDOWN_NAME, HTML_NAME, FIGURE_NAME = "report.json", "report.md", "report.html", "figures.png"


def report(options: StudyReportOptions) -> Tally:
    """Runs `study report`, and prints the table and the path of the report.

    Raises:
        UserError: there is no study, its media have changed, no answers count, or the folder can't be written.
    """
    options.check()
    study = Study.load(options.folder)
    path = options.folder / ANSWERS_NAME
    given = last_ones_in(path, study.identity) if path.is_file() else []
    if not given:
        raise UserError(f"no answers in {options.folder} yet; collect some with 'study serve {options.folder}'")
    study.check_media(options.folder)
    counts = tally(study.pairs, given, options.least_share)
    out = options.out or options.folder / REPORT_FOLDER
    _write(out, _render(options, study, counts, raters_in(path)))
    _print(counts)
    print(f"report: {out / HTML_NAME}")
    return counts


def _write(out: Path, files: dict[str, bytes]) -> None:
    """Writes the files atomically, replacing those of an earlier report."""
    make_folder(out)
    try:
        with replaced_together(out, tuple(files)) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)
    except OSError as error:
        raise UserError(f"out {out} can't be written: {error.strerror}; give another folder with --out") from error


def _render(options: StudyReportOptions, study: Study, counts: Tally, num_raters: int) -> dict[str, bytes]:
    """The report's files by name."""
    figure = draw_figure(counts, PAPER)
    record = {
        "study": study.identity,
        "weights": study.weights,
        "shards": study.shards,
        "split": study.split,
        "question": study.question,
        "rule": study.rule,
        "least_share": options.least_share,
        "num_agreed": num_raters,
        **dataclasses.asdict(counts),
        "published": {kind: dataclasses.asdict(rate) for kind, rate in PAPER.items()} | {"source": PAPER_SOURCE},
    }
    texts = {JSON_NAME: json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"}
    contents: dict[str, Any] = {
        "study": study,
        "counts": counts,
        "rows": _rows(counts),
        "sentences": _sentences(counts, options, num_raters),
        "labels": LABELS,
        "source": PAPER_SOURCE,
        "figure": base64.b64encode(figure).decode("ascii"),
        "narrow_figure": base64.b64encode(draw_figure(counts, PAPER, is_narrow=True)).decode("ascii"),
        "shown": {kind: _shown(options.folder, study, counts, kind) for kind in KINDS},
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("retrieval.study"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["as_text"] = as_text
    for name in (MARKDOWN_NAME, HTML_NAME):
        texts[name] = environment.get_template(f"{name}.j2").render(contents)
    return {FIGURE_NAME: figure} | {name: text.encode() for name, text in texts.items()}


def _rows(counts: Tally) -> list[tuple[str, str, str, str]]:
    """Rows of the table: name, mean ± standard deviation, 95 % interval, and the paper's value."""
    rows = [
        (LABELS[kind], _mean(counts.rates[kind]), _interval(counts.rates[kind]), _published(PAPER[kind]))
        for kind in KINDS
    ]
    published = f"{100 * (PAPER['true'].mean - PAPER['retrieved'].mean):.1f}"
    return [*rows, ("Difference", _mean(counts.difference), _interval(counts.difference), published)]


def _sentences(counts: Tally, options: StudyReportOptions, num_raters: int) -> dict[str, str]:
    """Explanations of the figures, a few sentences each."""
    agreement = counts.agreement
    of_kind = ", ".join(f"{name} pairs {_alpha(agreement[name])}" for name in KINDS)
    num_counted, num_left_out = len(counts.raters), len(counts.left_out)
    return {
        "headline": _headline(counts),
        "raters": f"{num_raters} agreed to take part, {counts.num_begun} answered, {counts.num_finished} finished. "
        f"Counted: {num_counted}, who answered yes or no to at least {100 * options.least_share:.0f} % of the pairs of "
        f"each kind. Excluded: {num_left_out}, who answered fewer.",
        "answers": f"{counts.num_answers} answers were yes or no. {counts.num_unplayable} times the sound did not "
        "play; these are not counted. If a rater changed an answer, only the last one counts.",
        "intervals": f"Means and standard deviations over raters, in percent, with equal weights, and 95 % confidence "
        f"intervals. {_methods(counts)}. An interval that generalises to other raters holds for the same pairs; one "
        "that generalises to other pairs holds for the same raters. Intervals of the agreement are bootstrapped over "
        "pairs.",
        "test": f"p = {_p_value(counts.p_value)}, two-sided, from a randomisation test that swaps the signs of the "
        f"raters' differences; with {len(counts.raters)} raters, p can't be below {_p_value(counts.least_p_value)}.",
        "agreement": "Krippendorff's alpha (nominal, missing answers allowed; 1 is perfect agreement, 0 is chance), "
        f"with 95 % intervals: all pairs {_alpha(agreement['all'])}, {of_kind}. {_agreeing(agreement['all'])}",
    }


def _headline(counts: Tally) -> str:
    """The 95 % intervals of the two rates of the page's heading."""
    ends = [_interval(counts.rates[kind]) for kind in KINDS]
    return f"95 % intervals: {ends[0]} % of the true pairs, {ends[1]} % of the retrieved pairs."


def _methods(counts: Tally) -> str:
    """How the intervals were computed: the rows of the table by their method."""
    labels: dict[str, list[str]] = {}
    for label, summary in [*((LABELS[kind], counts.rates[kind]) for kind in KINDS), ("Difference", counts.difference)]:
        labels.setdefault(summary.method, []).append(label)
    return ". ".join(f"{', '.join(names)}: {method}" for method, names in labels.items())


def _alpha(agreement: Agreement) -> str:
    bounds = agreement.krippendorff_alpha_interval
    ends = f" ({_number(bounds[0])} to {_number(bounds[1])})" if bounds else ""
    return f"{_number(agreement.krippendorff_alpha)}{ends}"


def _agreeing(agreement: Agreement) -> str:
    share, bounds = agreement.agreeing_share, agreement.agreeing_share_interval
    if share is None:
        return "No two raters answered the same pair."
    ends = f" (95 % interval {100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %)" if bounds else ""
    return f"Two raters who answered the same pair agreed in {100 * share:.1f} % of cases{ends}."


def _shown(folder: Path, study: Study, counts: Tally, kind: str) -> list[tuple[StudyPair, PairLine, str]]:
    """The pairs of a kind with their answers and a thumbnail, sorted by the share of "yes", highest first."""
    lines = {line.id: line for line in counts.pairs}
    pairs = sorted(
        (pair for pair in study.pairs if pair.kind == kind),
        key=lambda pair: -lines[pair.id].yes / max(1, lines[pair.id].yes + lines[pair.id].no),
    )
    shown = []
    for pair in pairs:
        small = picture(decode_jpeg((folder / MEDIA_FOLDER / pair.picture).read_bytes()), THUMBNAIL_PIXELS)
        shown.append((pair, lines[pair.id], base64.b64encode(small).decode("ascii")))
    return shown


def _print(counts: Tally) -> None:
    title = f"{len(counts.raters)} raters, {counts.num_answers} answers; yes in percent"
    table = Table(title=title, title_justify="left")
    for heading in ("", "mean ± sd", "95 % interval", "paper"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in _rows(counts):
        table.add_row(*row)
    console = Console(width=100)
    console.print(table)
    alpha = _number(counts.agreement["all"].krippendorff_alpha)
    console.print(
        f"difference: p = {_p_value(counts.p_value)}; agreement: Krippendorff's alpha {alpha}", highlight=False
    )


def _mean(summary: RateSummary) -> str:
    deviation = summary.standard_deviation
    mean = f"{100 * summary.mean:.1f}".replace("-", "−")
    return mean if deviation is None else f"{mean} ± {100 * deviation:.1f}"


def _interval(summary: RateSummary) -> str:
    if summary.low is None or summary.high is None:
        return summary.method
    return f"{100 * summary.low:.1f} to {100 * summary.high:.1f}".replace("-", "−")


def _published(rate: PublishedRate) -> str:
    return f"{100 * rate.mean:.1f} ± {100 * rate.standard_deviation:.1f}"


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.5f}"


def _number(value: float | None) -> str:
    # Adding 0 turns −0 into 0.
    return "not defined" if value is None else f"{round(value, 3) + 0.0:.3f}".replace("-", "−")
