"""Which pairs are excluded as negatives: a pair itself, pairs recorded nearby, and empty entries of a queue."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EARTH_RADIUS_KM = 6371.0088
"""Mean Earth radius (IUGG), in km."""


class NoNegatives:
    """Computes the mask tile by tile, so that no (n, n + k) matrix is stored.

    Args:
        identities: (n + k,) int64, of the batch, then of the past; equal ones are excluded. None: all differ.
        places: (n + k, 3) points on the unit sphere; NaN (unknown) is near to nothing. None: none is near.
        least_km: pairs within this great-circle distance are excluded.
        is_there: (n + k,) bool, False for empty entries. None: all are filled.
    """

    def __init__(
        self, identities: Tensor | None, places: Tensor | None, least_km: float, is_there: Tensor | None
    ) -> None:
        self._identities = identities
        self._places = None if places is None else places.double()
        self._least_chord = chord(least_km)
        self._is_there = is_there

    def __call__(self, rows: slice, columns: slice) -> Tensor:
        """(rows, columns) bool: True where the pair of the column is excluded as a negative of the pair of the row."""
        device = next(t.device for t in (self._identities, self._places, self._is_there) if t is not None)
        row = torch.arange(rows.start, rows.stop, device=device)[:, None]
        column = torch.arange(columns.start, columns.stop, device=device)[None]
        excluded = torch.zeros((len(row), column.shape[1]), dtype=torch.bool, device=device)
        if self._identities is not None:
            excluded |= self._identities[rows, None] == self._identities[None, columns]
        if self._places is not None:
            # From differences: in float32, products of unit vectors can't distinguish places 50 m apart.
            exact = "donot_use_mm_for_euclid_dist"
            excluded |= torch.cdist(self._places[rows], self._places[columns], compute_mode=exact) < self._least_chord
        if self._is_there is not None:
            excluded |= ~self._is_there[None, columns]
        return excluded & (row != column)


def chord(kilometres: float) -> float:
    """Converts a great-circle distance to the straight-line distance on the unit sphere, in [0, 2]."""
    return 2 * math.sin(min(kilometres / EARTH_RADIUS_KM, math.pi) / 2)
