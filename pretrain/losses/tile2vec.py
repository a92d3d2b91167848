"""Tile2Vec's triplet loss, and the draw of a distant tile for each anchor from the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from pretrain.losses.naive_triplet import random_others

BLOCK = 1024
"""Rows per block of the matrix of distances between places."""


def tile2vec_loss(anchors: Tensor, nears: Tensor, fars: Tensor, margin: float = 50.0, l2: float = 0.01) -> Tensor:
    """Triplet loss of anchors, neighbouring tiles and distant tiles, with a penalty on the length of embeddings.

    L = mean_i(max(0, |a_i − n_i| − |a_i − f_i| + margin) + l2 · (|a_i| + |n_i| + |f_i|)) (Jean et al., AAAI 2019,
    section "Triplet loss"; theirs is the sum over i). It is computed in at least float32; where two embeddings
    coincide, the gradient of their distance is 0.

    Args:
        anchors: (n, d).
        nears: (n, d); row i is the neighbour of anchor i.
        fars: (n, d); row i is distant from anchor i.
        margin: > 0, in units of distance.
        l2: ≥ 0, weight of the length penalty.

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
    """Draws a distant tile for each of n tiles, as a function of the draw counter and the places.

    It is the first one that is far enough, searching the batch cyclically from `random_others`; in a shuffled batch all
    that are far enough are equally likely. Memory grows linearly with n.

    Args:
        draw: scalar int64, the draw counter.
        places: (n, 3), points on the unit sphere, n ≥ 2.
        least_chord: minimum straight-line distance of a distant tile, in Earth radii; ≥ 0.

    Returns:
        Index of each distant tile, (n,) int64, and whether there is one, (n,) bool.
    """
    n = len(places)
    numbers, first = torch.arange(n, device=places.device), random_others(n, draw)
    parts = []
    for rows in numbers.split(BLOCK):
        # A matrix product would lose the distances of neighbours to rounding.
        chords = torch.cdist(places[rows], places, compute_mode="donot_use_mm_for_euclid_dist")
        steps = (numbers - first[rows, None]) % n
        parts.append(steps.masked_fill(~(chords > least_chord), n).amin(1))
    least_steps = torch.cat(parts)
    return (first + least_steps) % n, least_steps < n
