"""D@k of 10,000 pairs under two protocols: seconds, also of all cores, and additional memory; ranks not counted."""

from __future__ import annotations

from benchmarks.checkouts import checkouts, compared, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target

SUITE = "places"
PAIRS, QUICK_PAIRS = 10_000, 200
PROTOCOLS = ("standard", "khdlr")

TARGETS = (
    *(compared(f"D@k of 10,000 pairs, {name}", SUITE, name, "seconds", 1 / 4) for name in PROTOCOLS),
    Target("memory of it", Figure(SUITE, PROTOCOLS[0], "more_mib"), None, 200, at_most=True, unit="MiB"),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Each protocol twice, each time in a process of its own."""
    pairs, repeats = (QUICK_PAIRS, 1) if place.quick else (PAIRS, 2)
    return [
        row
        for name in PROTOCOLS
        for row in in_turn(
            SUITE, name, checkouts(place), lambda found, name=name: found.probe("distances_at_k", name, pairs), repeats
        )
    ]
