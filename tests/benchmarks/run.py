"""Measures Earshot beside its rivals on this machine: one table, and JSON.

    python tests/benchmarks/run.py [--json FILE] [--only NAME …] [--images FOLDER] [--against CHECKOUT] [--quick]

Every target is a figure or a ratio of two figures of this run. Leave the machine alone meanwhile: about 10 minutes on
2 cores, without the suites that take longer and run only if they are named. `--quick` runs everything once and tiny,
and its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own folder is there already, not tests/

from benchmarks import (
    building,
    busy_machine,
    demo_pipeline,
    distances_to_places,
    evaluating,
    frozen_heads,
    landcover_loading,
    loader,
    loss_memory,
    model_step,
    opening,
    ranking_speed,
    search_speed,
    small_retrieval,
    starting,
    startup,
    time_to_rank,
    training_loop,
)
from benchmarks.checkouts import BEFORE, Checkout
from benchmarks.corpus import Workplace
from benchmarks.measuring import machine
from benchmarks.results import Row, as_record, as_table, judge, print_table
from rich.console import Console

SUITES = {
    suite.SUITE: suite
    for suite in (
        loader,
        model_step,
        training_loop,
        loss_memory,
        ranking_speed,
        distances_to_places,
        search_speed,
        startup,
        opening,
        starting,
        busy_machine,
        building,
        evaluating,
        landcover_loading,
        frozen_heads,
        small_retrieval,
        time_to_rank,
        demo_pipeline,
    )
}
"""In this order: the loop names its bottleneck from what the loader and the model took."""


def main() -> None:
    """Measures, prints the table and writes the file."""
    options = parse()
    found = machine()
    rows: list[Row] = []
    chosen = [suite for name, suite in SUITES.items() if name in options.only]
    with tempfile.TemporaryDirectory() as folder:
        place = Workplace(Path(folder), quick=options.quick, photographs=options.images, against=options.against)
        for suite in chosen:
            Console(stderr=True).print(f"measuring {suite.SUITE} …")
            rows += suite.measure(place, rows)
            if options.against and getattr(suite, "IS_RUN_BY_BOTH", False):
                rows += rows_of_other(suite.SUITE, options, Path(folder) / "other.json")
    outcomes = [judge(target, rows) for suite in chosen for target in suite.TARGETS]
    title = " · ".join(f"{name} {value}" for name, value in found.items())
    print_table(as_table(f"{title}{' · QUICK: NO FIGURES' if options.quick else ''}", rows, outcomes))
    if options.json:
        record = as_record(found, rows, outcomes, quick=options.quick)
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def rows_of_other(suite: str, options: argparse.Namespace, file: Path) -> list[Row]:
    """What the other checkout measures by its own suite of that name."""
    words = ["--only", suite, "--json", file, *(["--quick"] if options.quick else [])]
    Checkout(options.against.resolve(), BEFORE).run("tests/benchmarks/run.py", *words)
    found = json.loads(file.read_text(encoding="utf-8"))["rows"]
    return [Row(suite, row["case"] + BEFORE, row["figures"], row["why_not"]) for row in found]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--quick", action="store_true", help="a smoke run: tiny sizes, no usable figures")
    parser.add_argument("--only", nargs="+", choices=SUITES, default=[], metavar="NAME", help=", ".join(SUITES))
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="make the tiles from these JPEGs, not generated")
    parser.add_argument(
        "--against", type=Path, metavar="CHECKOUT", help="a checkout of another commit, measured beside this one"
    )
    options = parser.parse_args()
    options.only = options.only or [
        name for name, suite in SUITES.items() if options.quick or not getattr(suite, "IS_LONG", False)
    ]
    if options.against and not (options.against / "pyproject.toml").is_file():
        parser.error(f"--against must be a checkout of Earshot, got {options.against}")
    if options.images and not any(options.images.glob("*.jpg")):
        parser.error(f"--images must be a folder with .jpg files, got {options.images}")
    return options


if __name__ == "__main__":
    main()
