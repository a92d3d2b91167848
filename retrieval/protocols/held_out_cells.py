"""Splits by location cells as PSM's authors draw them (Khanal et al., ACM Multimedia 2024, and their code)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

MIN_PAIRS_PER_CELL = 25
TERTILES = (33.0, 66.0)
"""Percentiles of the pairs per cell that separate sparse, medium and dense cells."""
VAL_SHARE = 0.40
"""Of the cells that are held out; the others are test."""


def split_by_cells(cells: Sequence[Hashable], held_out_share: float, seed: int) -> list[str]:
    """The split of each pair: some of the cells with at least 25 pairs are validation and test, all others training.

    Cells with at least 25 pairs are divided by their number of pairs at the percentiles 33 and 66. Of each of the three
    groups, `held_out_share` of the cells, rounded down, are drawn; 40 % of these, rounded down, are validation and the
    others test. Groups and cells are drawn in the order in which the pairs come, from NumPy's legacy generator.

    Args:
        cells: the cell of each pair.
        held_out_share: in [0, 1].
        seed: of the draws.
    """
    generator = np.random.RandomState(seed)
    sizes = {cell: count for cell, count in Counter(cells).items() if count >= MIN_PAIRS_PER_CELL}
    split_of: dict[Hashable, str] = {}
    if sizes:
        low, high = np.percentile(list(sizes.values()), TERTILES)
        groups = [
            [cell for cell, count in sizes.items() if count <= low],
            [cell for cell, count in sizes.items() if low < count <= high],
            [cell for cell, count in sizes.items() if count > high],
        ]
        for group in filter(None, groups):
            held_out = [group[i] for i in generator.choice(len(group), int(held_out_share * len(group)), replace=False)]
            if held_out:
                val = generator.choice(len(held_out), int(VAL_SHARE * len(held_out)), replace=False)
                split_of |= dict.fromkeys(held_out, "test") | {held_out[i]: "val" for i in val}
    return [split_of.get(cell, "train") for cell in cells]
