"""Opening a set of a million pairs: seconds and memory until the first sample, imports not counted."""

from __future__ import annotations

from benchmarks.checkouts import Checkout, checkouts, compared, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Figure, Row, Target, Value

SUITE = "open"
PAIRS, QUICK_PAIRS = 1_000_000, 1024
CASE = "a set, until its first sample"

TARGETS = (
    compared("opening a million pairs", SUITE, CASE, "open_s", 1 / 50),
    Target("memory of it", Figure(SUITE, CASE, "more_mib"), None, 50, at_most=True, unit="MiB"),
)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """A set in each checkout's format, opened three times by new processes."""

    def written(checkout: Checkout) -> str:
        folder = place.folder / f"{SUITE}{checkout.suffix[-7:]}"
        checkout.probe("repeated_set", folder, QUICK_PAIRS if place.quick else PAIRS)
        return str(folder)

    sets = {checkout.suffix: written(checkout) for checkout in checkouts(place)}

    def opened(checkout: Checkout) -> dict[str, Value]:
        return checkout.probe("open_set", sets[checkout.suffix])

    return in_turn(SUITE, CASE, checkouts(place), opened, 1 if place.quick else 3)
