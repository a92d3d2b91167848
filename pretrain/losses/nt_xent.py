"""NT-Xent (SimCLR): each view against the views of all images of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pretrain.losses.batch_triplet import check_pairs

BLOCK = 1024
"""Rows per block of the similarity matrix."""


def nt_xent_loss(views: Tensor, other_views: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy of each of the 2n views against the 2n − 1 others, the positive being the other view of its image.

    With z the 2n views, S_ij = z_i·z_j / temperature of unit vectors and p(i) the other view of i's image, it is
    1/2n Σ_i (log Σ_{j≠i} exp S_ij − S_ip(i)). Source: Chen et al., ICML 2020, Eq. 1. It is computed in at least
    float32 and in blocks of rows that are recomputed in the backward pass, so that memory grows linearly with n.

    Args:
        views: (n, d), n ≥ 2; row i shows the same image as row i of the others. They are scaled to length 1.
        other_views: (n, d).
        temperature: > 0.

    Returns:
        The loss, a scalar ≥ 0; log(2n − 1) where all embeddings coincide.

    Raises:
        ValueError: shapes that differ or are not (n, d), n < 2, or a temperature ≤ 0.
    """
    n = check_pairs(views, other_views)
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    with torch.autocast(views.device.type, enabled=False):
        z = torch.cat([views, other_views])
        z = F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)
        rows = torch.arange(2 * n, device=z.device)
        blocks = [
            checkpoint(_of_rows, z, block, temperature, use_reentrant=False, preserve_rng_state=False)
            for block in rows.split(BLOCK)
        ]
        return torch.stack(blocks).sum() / (2 * n)


def _of_rows(z: Tensor, rows: Tensor, temperature: float) -> Tensor:
    similarities = z[rows] @ z.T / temperature
    itself = rows[:, None] == torch.arange(len(z), device=z.device)
    other = (rows + len(z) // 2) % len(z)
    return F.cross_entropy(similarities.masked_fill(itself, -torch.inf), other, reduction="sum")
