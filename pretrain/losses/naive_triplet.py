"""Naive triplet loss: the negative of each image is one random other sound of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from pretrain.losses.batch_triplet import check_pairs
from pretrain.losses.hashed_numbers import hashed_numbers
from pretrain.losses.pair_loss import PairLoss


def random_others(n: int, draw: Tensor) -> Tensor:
    """Draws another item for each of n items, uniformly, as a function of the item's index and the draw counter.

    Equal on every process and device, without state and without synchronising with a device.

    Args:
        n: at least 2.
        draw: scalar int64, the draw counter.

    Returns:
        (n,) int64 in [0, n); entry i is not i.
    """
    return (torch.arange(1, n + 1, device=draw.device) + hashed_numbers(n, draw).remainder(n - 1)) % n


def naive_triplet_loss(
    image_embeddings: Tensor, sound_embeddings: Tensor, negatives: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Triplet loss with one negative sound per image.

    L = Σ_i max(0, |x_i − y_i| − |x_i − y_k(i)| + margin) (SoundingEarth, arXiv 2108.00688, Eq. 2). It is computed in
    at least float32; where two embeddings coincide, the gradient of their distance is 0.

    Args:
        image_embeddings: (n, d), n ≥ 2; row i is paired with row i of the sounds.
        sound_embeddings: (n, d).
        negatives: (n,), index of each image's negative sound.
        margin: > 0, in units of distance.
        reduction: "sum", or "mean" over the n terms.

    Returns:
        The loss, a scalar ≥ 0; `margin` under "mean" where all embeddings coincide.

    Raises:
        ValueError: shapes that differ or are not (n, d), n < 2, margin ≤ 0, or an unknown reduction.
    """
    check_pairs(image_embeddings, sound_embeddings)
    if margin <= 0:
        raise ValueError(f"margin must be > 0, got {margin}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    with torch.autocast(image_embeddings.device.type, enabled=False):
        dtype = torch.promote_types(image_embeddings.dtype, torch.float32)
        images, sounds = image_embeddings.to(dtype), sound_embeddings.to(dtype)
        terms = (_distances(images, sounds) - _distances(images, sounds[negatives]) + margin).relu()
    return terms.sum() if reduction == "sum" else terms.mean()


def _distances(a: Tensor, b: Tensor) -> Tensor:
    squared = (a - b).square().sum(1)
    coincide = squared == 0
    return torch.where(coincide, 0.0, torch.where(coincide, 1.0, squared).sqrt())


class NaiveTripletLoss(PairLoss):
    """`naive_triplet_loss` with new negatives in each step; a resumed run draws the same ones."""

    on_sphere = False

    def __init__(self, margin: float = 1.0, reduction: str = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction
        self.draws: Tensor
        # A buffer is saved with the weights, so that a resumed run continues the sequence of draws.
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    def forward(self, image_embeddings: Tensor, sound_embeddings: Tensor) -> Tensor:
        """The loss of a batch; see `naive_triplet_loss`."""
        negatives = random_others(check_pairs(image_embeddings, sound_embeddings), self.draws)
        self.draws = self.draws + 1
        return naive_triplet_loss(image_embeddings, sound_embeddings, negatives, self.margin, self.reduction)
