"""Refuses embeddings that are not finite: no rank or distance of theirs has a meaning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError

MOST_NAMED = 5


def refuse_not_finite(names: Sequence[str], *embeddings: NDArray[np.float32]) -> None:
    """Checks embeddings before they are stored or ranked.

    Args:
        names: what was embedded, such as keys or file names.
        embeddings: arrays of (n, d), in the order of the names.

    Raises:
        UserError: some hold infinity or NaN; it names the first of them.
    """
    at_fault = np.zeros(len(names), dtype=bool)
    for rows in embeddings:
        at_fault |= ~np.isfinite(rows).all(axis=1)
    if at_fault.any():
        numbers = np.flatnonzero(at_fault)
        named = ", ".join(names[number] for number in numbers[:MOST_NAMED]) + ", …" * (len(numbers) > MOST_NAMED)
        raise UserError(
            f"{len(numbers)} of {len(names)} embeddings are not finite ({named}), so the weights have diverged; give "
            "others, such as an earlier checkpoint"
        )
