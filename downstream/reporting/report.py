"""The verb `report`: results of many runs → one table a benchmark, beside the published figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from downstream.reporting.runs import runs_of
from shards.atomic_files import write_bytes_atomically, write_text_atomically
from shards.command_line.option_lists import Option
from shards.command_line.short_names import SHORT_NAMES, expand
from shards.command_line.verbs import EVERYWHERE, answer_version
from shards.errors import UserError
from shards.loading import Loading

NAMES = ("report.md", "report.csv", "report.html")


def completions() -> list[Option]:
    """The options to offer in a shell."""
    return [Option(("--out",))]


def report_from(words: list[str], command: str = "python downstream/run.py report") -> None:
    """Carries out `report OUT... --out DIR`.

    Args:
        words: the command line after `report`.
        command: what was typed for it, for `--help`.

    Raises:
        UserError: a folder without results, two runs of one seed, or `--out` can't be written.
    """
    answer_version(words)
    words = expand(words, SHORT_NAMES, ("--out",))
    parser = argparse.ArgumentParser(
        prog=command,
        description="Merges results into one table per benchmark, beside published figures: Markdown, CSV and HTML, "
        "with pictures that set the runs side by side.",
        epilog=f"Short names: -o, --output = --out. {EVERYWHERE}",
    )
    parser.add_argument(
        "results", metavar="OUT", nargs="+", type=Path, help="--out of a benchmark, or a folder that holds such folders"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help=f"folder for {', '.join(NAMES)}")
    options = parser.parse_args(words)
    runs = runs_of(options.results)

    with Loading():
        from downstream.reporting.exhibits import exhibits_of
        from downstream.reporting.formats import comma_separated, markdown, page
        from downstream.reporting.rows import rows_of_runs
        from downstream.reporting.tables import build_tables

    tables = build_tables(rows_of_runs(runs))
    exhibits = exhibits_of(runs, tables)
    files = (markdown(tables, exhibits), comma_separated(tables), page(tables, exhibits))
    texts = dict(zip(NAMES, files, strict=True))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            write_text_atomically(options.out / name, text)
        for exhibit in exhibits:
            write_bytes_atomically(options.out / f"{exhibit.name}.png", exhibit.png)
    except OSError as error:
        raise UserError(f"out {options.out} can't be written: {error.strerror}; name another --out") from error
    print(texts["report.md"], end="")
    print(f"\nreport: {options.out / 'report.html'}")
