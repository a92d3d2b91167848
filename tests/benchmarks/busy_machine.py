"""Training on a quiet machine and beside one busy process: pairs a second, by each of OpenMP's policies of waiting."""

from __future__ import annotations

import itertools
import subprocess
import sys

from benchmarks.checkouts import Checkout, checkouts, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target, Value
from benchmarks.training_steps import training

SUITE = "busy"
QUIET, BUSY = "quiet", "beside a busy process"
WARM_UP_STEPS, STEPS, QUICK_STEPS = 3, 8, 1
BATCH = 8
PAIRS = 256
SMALL = ["--batch-size", BATCH, "--data.image-size", 64, "--data.workers", 1, "--tracker", "none"]
POLICIES = ("", "ACTIVE", "PASSIVE")
"""Values of OMP_WAIT_POLICY; the first leaves it to the checkout."""

TARGETS = (Target(f"pairs a second {BUSY}", Figure(SUITE, BUSY, "pairs_per_second"), None, 7.5, unit="pairs/s"),)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Both cases by this checkout under each policy, and by the other as it is."""
    numbers = itertools.count()

    def rate(checkout: Checkout, case: str) -> dict[str, Value]:
        folder = place.folder / SUITE / f"{next(numbers)}"
        checkout.probe("repeated_set", folder / "shards", PAIRS)
        other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if case == BUSY else None
        try:
            with training(checkout, folder / "shards", folder / "run", *SMALL) as (_, lines):
                for _ in range(WARM_UP_STEPS):
                    next(lines)
                steps = QUICK_STEPS if place.quick else STEPS
                seconds = [BATCH / next(lines)["pairs_per_second"] for _ in range(steps)]
        finally:
            if other:
                other.kill()
                other.wait()
        return {"pairs_per_second": BATCH * len(seconds) / sum(seconds)}

    rows = []
    cases, policies = ((BUSY,), POLICIES[:1]) if place.quick else ((QUIET, BUSY), POLICIES)
    for case, policy in itertools.product(cases, policies):
        variables = {"OMP_WAIT_POLICY": policy} if policy else {}
        named = f"{case}, {policy.lower()}" if policy else case
        chosen = checkouts(place, **variables)[: 1 if policy else None]
        rows += in_turn(SUITE, named, chosen, lambda checkout, case=case: rate(checkout, case))
    return rows
