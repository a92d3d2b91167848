"""Time that the preset `demo` takes to a given validation rank on a few hundred real pairs, beside another commit's.

Both checkouts train from scratch on the same pairs, one after the other for every seed, with the instructions of this
CPU and as on one without bf16. The clock runs from the first step that `metrics.jsonl` tells of to the first validation
whose median rank, mean of both directions, is as good as `RANK`; it counts validations, not the start of Python. About
20 minutes on 2 cores, so it runs only when it is named:

    python tests/benchmarks/run.py --only time-to-rank --against CHECKOUT
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.checkouts import CPU_FORMS, Checkout, checkouts, compared
from benchmarks.corpus import REPOSITORY, Workplace
from benchmarks.results import Row
from benchmarks.training_steps import metrics_lines
from tiny_shards import write_tiny_shards

SUITE = "time-to-rank"
IS_LONG = True
PAIRS = REPOSITORY.parent / "shared" / "data" / "soundscapes"
RANK, QUICK_RANK = 20.0, 1000.0
"""Of 73 validation pairs, whose chance is 37."""
EPOCHS = 40
SEEDS, QUICK_SEEDS = range(3), range(1)
QUICK = ["--data.image-size", "32", "--batch-size", "16", "--data.workers", "0"]

TARGETS = tuple(
    compared(f"{case}: time to the same validation rank", SUITE, case, "seconds", 1 / 3) for case in CPU_FORMS
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """For each form a row for this checkout, and one for the other where `--against` names it."""
    forms = dict(list(CPU_FORMS.items())[: 1 if place.quick else None])
    if not place.quick and not PAIRS.is_dir():
        return [Row(SUITE, case, why_not="real pairs are not at ../shared") for case in forms]
    folder = place.folder / SUITE
    shards = {
        checkout.suffix: _shards(folder / f"shards{checkout.suffix}", checkout, place) for checkout in checkouts(place)
    }
    rows = []
    for case, form in forms.items():
        of = checkouts(place, **form.variables)
        found: dict[str, list[float | None]] = {checkout.suffix: [] for checkout in of}
        for seed in QUICK_SEEDS if place.quick else SEEDS:
            for checkout in of:
                out = folder / f"{case}{checkout.suffix}-{seed}"
                words = ["demo", "--shards", shards[checkout.suffix], "--out", out, "--seed", seed, *form.words]
                words += ["--tracker", "none", *(["--epochs", 1, *QUICK] if place.quick else ["--epochs", EPOCHS])]
                found[checkout.suffix].append(_seconds_to(QUICK_RANK if place.quick else RANK, checkout, out, words))
        rows += [Row(SUITE, case + suffix, _figures(seconds)) for suffix, seconds in found.items()]
    return rows


def _figures(seconds: list[float | None]) -> dict[str, Any]:
    """The median over the seeds, where all came so far, and each."""
    reached = [value for value in seconds if value is not None]
    whole = len(reached) == len(seconds)
    return {
        "seconds": round(statistics.median(reached), 1) if whole else None,
        "of_each_seed": ", ".join("never" if value is None else f"{value:.1f}" for value in seconds),
    }


def _shards(folder: Path, checkout: Checkout, place: Workplace) -> Path:
    """The pairs as shards of the checkout's own format."""
    if place.quick:
        return write_tiny_shards(folder, {"train": 64, "val": 16, "test": 24})
    words = ["build", "--source", "recordings", "--root", PAIRS, "--out", folder]
    checkout.run("shards/run.py", *words, "--split-by", "column", "--column", "recording")
    return folder


def _seconds_to(rank: float, checkout: Checkout, out: Path, words: list[object]) -> float | None:
    """Seconds from the first step to the validation that was good enough, which ends the run; None: none was."""
    started = None
    errors = out.parent / f"{out.name}.log"
    with errors.open("w") as log, checkout.start("pretrain/run.py", *words, stdout=log, stderr=log) as process:
        for record in metrics_lines(out / "metrics.jsonl", process):
            started = started or time.monotonic()
            if record["split"] == "val" and _median_rank(record) <= rank:
                process.terminate()
                return time.monotonic() - started
    if process.returncode:
        raise RuntimeError(f"the training ended: {errors.read_text(encoding='utf-8')[-2000:]}")
    return None


def _median_rank(record: dict[str, Any]) -> float:
    """The mean of both directions."""
    return statistics.fmean(record[name]["median_rank"] for name in ("image_to_sound", "sound_to_image"))
