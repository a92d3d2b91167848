"""Tile2Vec's triplet loss, and how each anchor's far tile is drawn from the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from pretrain.losses.naive_triplet import random_others

BLOCK = 1024
"""Rows of the matrix of distances between places that are held at once."""


def tile2vec_loss(anchors: Tensor, nears: Tensor, fars: Tensor, margin: float = 50.0, l2: float = 0.01) -> Tensor:
    """Asks of every anchor to be nearer to its near tile than to its far one, by a margin, and of all to be short.

    L = mean_i(max(0, |a_i − n_i| − |a_i − f_i| + margin) + l2 · (|a_i| + |n_i| + |f_i|)) (Jean et al., AAAI 2019,
    section "Triplet loss"; theirs is the sum over i). It is computed in at least float32; where two embeddings
    coincide the gradient of their distance is 0.

    Args:
        anchors: (n, d).
        nears: (n, d); row i is near anchor i.
        fars: (n, d); row i is far from anchor i.
        margin: > 0, in units of distance.
        l2: ≥ 0, the weight of the lengths.

    Returns:
        The loss, a scalar ≥ 0; 0 for n = 0.

    Raises:
        ValueError: shapes that differ or are not (n, d), margin ≤ 0, or l2 < 0.
    """
    if anchors.ndim != 2 or not anchors.shape == nears.shape == fars.shape:
        shapes = ", ".join(str(tuple(tiles.shape)) for tiles in (anchors, nears, fars))
        raise ValueError(f"anchors, near and far tiles must have one shape (n, d), got {shapes}")
    if margin <= 0:
        raise ValueError(f"margin must be > 0, got {margin}")
    if l2 < 0:
        raise ValueError(f"l2 must be >= 0, got {l2}")
    with torch.autocast(anchors.device.type, enabled=False):
        dtype = torch.promote_types(anchors.dtype, torch.float32)
        anchors, nears, fars = (tiles.to(dtype) for tiles in (anchors, nears, fars))
        # The gradient of vector_norm at 0 is 0.
        hinges = (_lengths(anchors - nears) - _lengths(anchors - fars) + margin).relu()
        lengths = _lengths(anchors) + _lengths(nears) + _lengths(fars)
        return (hinges + l2 * lengths).sum() / max(1, len(anchors))


def _lengths(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=1)


def random_far_tiles(draw: Tensor, places: Tensor, least_chord: float) -> tuple[Tensor, Tensor]:
    """For each of n tiles another one that is far from it: a function of the draw's number and of the places alone.

    It is the first one far enough from `random_others` on, in the order of the batch, after whose end comes its
    beginning; in a shuffled batch each one that is far enough is as likely as any other. Memory grows with n alone.

    Args:
        draw: scalar int64, the number of the draw.
        places: (n, 3), points of the unit sphere, n ≥ 2.
        least_chord: the straight distance that a far tile has to exceed, in radii; ≥ 0.

    Returns:
        The number of each one's far tile, (n,) int64, and whether there is one, (n,) bool.
    """
    n = len(places)
    numbers, first = torch.arange(n, device=places.device), random_others(n, draw)
    parts = []
    for rows in numbers.split(BLOCK):
        # By matrix product, distances of neighbours would be lost to rounding.
        chords = torch.cdist(places[rows], places, compute_mode="donot_use_mm_for_euclid_dist")
        steps = (numbers - first[rows, None]) % n
        parts.append(steps.masked_fill(~(chords > least_chord), n).amin(1))
    least_steps = torch.cat(parts)
    return (first + least_steps) % n, least_steps < n
