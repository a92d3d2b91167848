"""Time that the preset `demo` takes to a given validation rank on a few hundred real pairs, beside another commit's.

Both checkouts train from scratch on the same shards, one after the other for every seed. The clock runs from the first
step that `metrics.jsonl` tells of to the first validation whose median rank, mean of both directions, is as good as
`RANK`; it counts validations, not the start of Python. About 25 minutes on 2 cores, so it runs only when it is named:

    python tests/benchmarks/run.py --only time-to-rank --against CHECKOUT
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.corpus import REPOSITORY, Workplace
from benchmarks.results import Figure, Row, Target
from tiny_shards import write_tiny_shards

SUITE = "time-to-rank"
IS_LONG = True
PAIRS = REPOSITORY.parent / "shared" / "data" / "soundscapes"
OURS, OTHERS = "demo", "demo, --against"
RANK, QUICK_RANK = 20.0, 1000.0
"""Of 73 validation pairs, whose chance is 37."""
EPOCHS = 40
SEEDS, QUICK_SEEDS = range(3), range(1)
QUICK = ["--data.image-size", "32", "--batch-size", "16", "--data.workers", "0"]

TARGETS = (
    Target(
        "time to the same validation rank, this checkout / --against",
        Figure(SUITE, OURS, "seconds"),
        Figure(SUITE, OTHERS, "seconds"),
        1 / 3,
        at_most=True,
    ),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """A row for this checkout, and one for the other where `--against` names it."""
    if not place.quick and not PAIRS.is_dir():
        return [Row(SUITE, OURS, why_not="real pairs are not at ../shared")]
    shards = _shards(place.folder / SUITE / "shards", quick=place.quick)
    rank = QUICK_RANK if place.quick else RANK
    checkouts = {OURS: REPOSITORY, **({OTHERS: place.against.resolve()} if place.against else {})}
    found: dict[str, list[float | None]] = {case: [] for case in checkouts}
    for seed in QUICK_SEEDS if place.quick else SEEDS:
        for case, checkout in checkouts.items():
            out = place.folder / SUITE / f"{checkout.name}-{len(found[case])}-{case.split(',')[-1].strip(' -')}"
            words = ["demo", "--shards", shards, "--out", out, "--seed", seed, "--tracker", "none"]
            words += ["--epochs", 1 if place.quick else EPOCHS, *(QUICK if place.quick else [])]
            found[case].append(_seconds_to(rank, checkout, out, list(map(str, words))))
    rows = [Row(SUITE, case, _figures(seconds)) for case, seconds in found.items()]
    return rows if place.against else [*rows, Row(SUITE, OTHERS, why_not="no --against CHECKOUT")]


def _figures(seconds: list[float | None]) -> dict[str, Any]:
    """The median over the seeds, where all came so far, and each."""
    reached = [value for value in seconds if value is not None]
    whole = len(reached) == len(seconds)
    return {
        "seconds": round(statistics.median(reached), 1) if whole else None,
        "of_each_seed": ", ".join("never" if value is None else f"{value:.1f}" for value in seconds),
    }


def _shards(folder: Path, *, quick: bool) -> Path:
    if quick:
        return write_tiny_shards(folder, {"train": 64, "val": 16, "test": 24})
    words = ["build", "--source", "recordings", "--root", PAIRS, "--out", folder]
    words += ["--split-by", "column", "--column", "recording"]
    with _python(REPOSITORY, "shards/run.py", *map(str, words)) as process:
        assert process.wait() == 0
    return folder


def _python(checkout: Path, script: str, *words: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.Popen(
        [sys.executable, str(checkout / script), *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _seconds_to(rank: float, checkout: Path, out: Path, words: list[str]) -> float | None:
    """Seconds from the first step to the validation that was good enough, which ends the run; None: none was."""
    started = None
    with _python(checkout, "pretrain/run.py", *words) as process:
        for record in _records(out / "metrics.jsonl", process):
            started = started or time.monotonic()
            if record["split"] == "val" and _median_rank(record) <= rank:
                process.terminate()
                return time.monotonic() - started
        assert process.returncode == 0, f"{checkout}: pretrain/run.py {' '.join(words)} failed"
    return None


def _records(path: Path, process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """The lines of a file as they are written, until the process that writes them ends."""
    place = 0
    while True:
        is_over = process.poll() is not None
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        end = text.rfind("\n") + 1
        yield from map(json.loads, text[place:end].splitlines())
        place = end
        if is_over:
            return
        time.sleep(0.05)


def _median_rank(record: dict[str, Any]) -> float:
    """The mean of both directions."""
    return statistics.fmean(record[name]["median_rank"] for name in ("image_to_sound", "sound_to_image"))
