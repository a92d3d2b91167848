"""Loading for a training on DeepGlobe: what a patch of 512 pixels costs one core, from tiles of 2448 x 2448."""

from __future__ import annotations

from benchmarks.checkouts import checkouts, compared, in_turn
from benchmarks.corpus import Workplace
from benchmarks.results import Row

SUITE = "land cover"
CASE = "a patch"

TARGETS = (compared("time of one core a patch", SUITE, CASE, "cpu_ms_a_patch", 1 / 10),)


def measure(place: Workplace, _earlier: list[Row]) -> list[Row]:
    """Generated tiles in DeepGlobe's layout, patches in the order of an epoch."""
    folder = place.folder / "landcover"
    return in_turn(
        SUITE,
        CASE,
        checkouts(place),
        lambda checkout: checkout.probe("landcover_patches", folder),
        1 if place.quick else 2,
    )
