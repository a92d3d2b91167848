"""Checks and times Earshot on a GPU within a few minutes: `tests/gpu/run.sh`, which calls this.

    tests/gpu/run.sh [--json FILE] [--minutes 8] [--only NAME …]

Every check and timing runs in a process of its own: one that fails is reported and the rest go on. What a machine lacks
is named and counted as skipped. Without CUDA, what a CPU can do is done at tiny sizes, whose figures mean nothing. The
exit status is 1 if a check or a timing failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from gpu import isolated, requirements
from gpu.isolated import FAILED, SKIPPED, Result, carry_out
from gpu.items import CHECKS, PATIENCE, TIMINGS, Item, Place
from gpu.report import as_record, as_text, heading_of


def main() -> int:
    """Runs all items and writes the table and the JSON; the exit status."""
    options = parse()
    checks = [item for item in CHECKS if not options.only or item.name in options.only]
    timings = [item for item in TIMINGS if not options.only or item.name in options.only]
    started = time.monotonic()
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("TRITON_CACHE_DIR", f"{folder}/triton")  # a home may be missing, or read-only
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{folder}/inductor")
        place = Place(requirements.device(), Path(folder))
        for item in (*checks, *timings):
            left = 60 * options.minutes - (time.monotonic() - started)
            results[item.name] = result = result_of(item, place, left)
            print(heading_of(isolated.as_record(result)), file=sys.stderr, flush=True)
    record = as_record(
        [results[item.name] for item in checks],
        [results[item.name] for item in timings],
        device=place.device,
        minutes=options.minutes,
        seconds=round(time.monotonic() - started, 1),
    )
    print(as_text(record))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(any(result.outcome == FAILED for result in results.values()))


def result_of(item: Item, place: Place, seconds_left: float) -> Result:
    """An item's result; it is skipped where something is missing or the time is too short."""
    if reason := requirements.what_is_missing(item):
        return Result(item.name, SKIPPED, reason)
    if seconds_left < item.seconds:
        return Result(item.name, SKIPPED, f"takes about {item.seconds:.0f} s, more than --minutes leaves")
    return carry_out(item, place, min(PATIENCE * item.seconds, max(seconds_left, item.seconds)))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [item.name for item in (*CHECKS, *TIMINGS)]
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to this file")
    parser.add_argument("--minutes", type=float, default=8.0, help="what would take longer is left out (default: 8)")
    parser.add_argument("--only", nargs="+", choices=names, default=[], metavar="NAME", help="; ".join(names))
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error(f"--minutes must be > 0, got {options.minutes:g}")
    return options


if __name__ == "__main__":
    sys.exit(main())
