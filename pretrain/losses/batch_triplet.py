"""Batch triplet loss: all mismatches of the batch are negatives, from one distance matrix (SoundingEarth)."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor

from pretrain.losses.batch_triplet_tiled import tiled_total
from pretrain.losses.pair_loss import PairLoss

TILED_FROM = 2048
"""From this number of pairs on, the distance matrix is computed in tiles and never stored whole."""


def check_pairs(image_embeddings: Tensor, sound_embeddings: Tensor) -> int:
    """Returns the number of pairs after checking the shapes.

    Raises:
        ValueError: shapes that differ or are not (n, d), or n < 2.
    """
    if image_embeddings.ndim != 2 or image_embeddings.shape != sound_embeddings.shape:
        raise ValueError(
            "image and sound embeddings must have one shape (n, d), got "
            f"{tuple(image_embeddings.shape)} and {tuple(sound_embeddings.shape)}"
        )
    n = image_embeddings.shape[0]
    if n < 2:
        raise ValueError(f"the batch must hold at least 2 pairs, since each pair needs a negative, got {n}")
    return n


def pairwise_distances(image_embeddings: Tensor, sound_embeddings: Tensor) -> Tensor:
    """Computes the Euclidean distances between all images and all sounds by a matrix product.

    Both are centred on their common mean first, which leaves distances unchanged and reduces rounding errors.
    Where two embeddings coincide, the gradient is 0.

    Args:
        image_embeddings: (n, d).
        sound_embeddings: (m, d).

    Returns:
        (n, m), D_ij between image i and sound j.
    """
    centre = (image_embeddings.detach().mean(0) + sound_embeddings.detach().mean(0)) / 2
    images, sounds = image_embeddings - centre, sound_embeddings - centre
    squared = images.square().sum(1)[:, None] + sounds.square().sum(1)[None, :] - 2 * images @ sounds.T
    # Compared this way round, non-finite values propagate instead of becoming zero.
    coincide = squared <= 0
    return torch.where(coincide, 0.0, torch.where(coincide, 1.0, squared).sqrt())


def batch_triplet_loss(
    image_embeddings: Tensor, sound_embeddings: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Triplet loss over all mismatches of the batch, in both directions.

    L = Σ_i Σ_{j≠i} max(0, D_ii − D_ij + margin) + Σ_j Σ_{i≠j} max(0, D_jj − D_ij + margin)

    This is Algorithm 1 of SoundingEarth (arXiv 2108.00688) without its diagonal, which adds a constant
    2 · n · margin; the paper's Eq. 3 prints D_ii in the second sum. It is computed in at least float32. From n = 2048
    the distance matrix is computed in tiles, so that memory grows linearly with n: by a fused kernel on CUDA, by matrix
    products elsewhere. Value and gradient are the same, but second derivatives are not available then.

    Args:
        image_embeddings: (n, d), n ≥ 2; row i is paired with row i of the sounds.
        sound_embeddings: (n, d).
        margin: > 0, in units of distance.
        reduction: "sum" as in the paper, or "mean" over the 2 · n · (n − 1) terms.

    Returns:
        The loss, a scalar ≥ 0. Embeddings that all coincide give `margin` under "mean".

    Raises:
        ValueError: shapes that differ or are not (n, d), n < 2, margin ≤ 0, or an unknown reduction.
    """
    n = check_pairs(image_embeddings, sound_embeddings)
    if margin <= 0:
        raise ValueError(f"margin must be > 0, got {margin}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")

    with torch.autocast(image_embeddings.device.type, enabled=False):
        dtype = torch.promote_types(image_embeddings.dtype, torch.float32)
        total_of = plain_total if n < TILED_FROM else _large_total(image_embeddings, dtype)
        total = total_of(image_embeddings.to(dtype), sound_embeddings.to(dtype), margin)
    return total if reduction == "sum" else total / (2 * n * (n - 1))


def plain_total(image_embeddings: Tensor, sound_embeddings: Tensor, margin: float) -> Tensor:
    """Both sums of `batch_triplet_loss` from the whole distance matrix: (n, d), (n, d) → a scalar."""
    distances = pairwise_distances(image_embeddings, sound_embeddings)
    true = distances.diagonal()
    itself = torch.eye(len(distances), dtype=torch.bool, device=distances.device)
    by_row = (true[:, None] - distances + margin).relu().masked_fill(itself, 0)
    by_column = (true[None, :] - distances + margin).relu().masked_fill(itself, 0)
    return by_row.sum() + by_column.sum()


def _large_total(embeddings: Tensor, dtype: torch.dtype) -> Callable[[Tensor, Tensor, float], Tensor]:
    """The fused kernel where it can run, otherwise the tiled form."""
    if embeddings.is_cuda and find_spec("triton"):
        # Imported here because Triton is part of PyTorch on some platforms only.
        from pretrain.losses.batch_triplet_triton import fused_total, is_fit

        if is_fit(embeddings, dtype):
            return fused_total
    return tiled_total


class BatchTripletLoss(PairLoss):
    """`batch_triplet_loss` as a module; embeddings are not normalised."""

    on_sphere = False

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, image_embeddings: Tensor, sound_embeddings: Tensor) -> Tensor:
        """The loss of a batch; see `batch_triplet_loss`."""
        return batch_triplet_loss(image_embeddings, sound_embeddings, self.margin, self.reduction)
