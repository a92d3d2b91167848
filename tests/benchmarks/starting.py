"""From the command to the first step of a training on a ready set, and the memory of its loaders."""

from __future__ import annotations

import itertools
import time

from benchmarks.checkouts import Checkout, checkouts, compared, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Row, Value
from benchmarks.training_steps import loader_memory_mib, training

SUITE = "start"
TRACKERS = ("none", "mlflow")
WORKERS = 2
CASE = "pretrain/run.py, --tracker {}"
STEPS_BEFORE_MEMORY = 8
PAIRS = 256
SMALL = ["--batch-size", 16, "--data.image-size", 32, "--model.sound-pooling", 4, "--data.workers", WORKERS]

TARGETS = (
    *(compared(f"start with {name}", SUITE, CASE.format(name), "first_step_s", 1 / 2) for name in TRACKERS),
    compared("memory of a loader", SUITE, CASE.format(TRACKERS[0]), "loader_mib", 1 / 3),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Small networks on small pairs, so that starting is what takes the time; a new store of runs each time."""
    numbers = itertools.count()

    def started(checkout: Checkout, tracker: str) -> dict[str, Value]:
        folder = place.folder / SUITE / f"{next(numbers)}"
        shards = folder / "shards"
        checkout.probe("repeated_set", shards, PAIRS)
        began = time.perf_counter()
        with training(checkout, shards, folder / "run", "--tracker", tracker, *SMALL) as (process, lines):
            next(lines)
            seconds = time.perf_counter() - began
            for _ in range(STEPS_BEFORE_MEMORY):
                next(lines)
            return {"first_step_s": seconds, "loader_mib": loader_memory_mib(process.pid, WORKERS)}

    rows = []
    for tracker in TRACKERS[: 1 if place.quick else None]:
        repeats = 1 if place.quick else 3
        case = CASE.format(tracker)
        rows += in_turn(SUITE, case, checkouts(place), lambda checkout, name=tracker: started(checkout, name), repeats)
    return rows
