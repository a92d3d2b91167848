"""MoCo's contrastive loss: each query against its own key and a queue of keys from past batches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain.losses.batch_triplet import check_pairs

TILE = 8192
"""Number of queued keys per tile."""


def momentum_contrast_loss(
    queries: Tensor, keys: Tensor, queue: Tensor, num_filled: Tensor, temperature: float = 0.2
) -> Tensor:
    """Cross-entropy of each query's own key against the keys of a queue.

    L = −1/n Σ_i log(exp(q_i·k_i / τ) / (exp(q_i·k_i / τ) + Σ_j exp(q_i·z_j / τ))) (He et al., CVPR 2020, Eq. 1), with
    z_j the filled entries of the queue. Vectors must have length 1. It is computed in at least float32 and in tiles of
    the queue, so that memory grows with n and k, not with their product.

    Args:
        queries: (n, d), n ≥ 2; only they receive a gradient, without second derivatives.
        keys: (n, d); row i belongs to query i.
        queue: (k, d).
        num_filled: scalar int64, number of filled entries at the front of the queue; the rest is ignored.
        temperature: τ > 0.

    Returns:
        The loss, a scalar ≥ 0; log(1 + num_filled) where all vectors coincide, 0 with an empty queue.

    Raises:
        ValueError: queries and keys of different shapes or not (n, d), n < 2, a queue of another d, or a
            temperature ≤ 0.
    """
    check_pairs(queries, keys)
    if queue.ndim != 2 or queue.shape[1] != queries.shape[1]:
        raise ValueError(f"queue must be (k, {queries.shape[1]}), got {tuple(queue.shape)}")
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    with torch.autocast(queries.device.type, enabled=False):
        dtype = torch.promote_types(queries.dtype, torch.float32)
        vectors = (tensor.to(dtype) for tensor in (queries, keys, queue))
        loss: Tensor = _MomentumContrast.apply(*vectors, num_filled, temperature)
    return loss


class _MomentumContrast(torch.autograd.Function):
    """One pass for the sums of exponentials, one for the gradients, which are stored (n · d numbers).

    The queue may therefore change before the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, keys: Tensor, queue: Tensor, num_filled: Tensor, temperature: float
    ) -> Tensor:
        def logits(start: int) -> Tensor:
            places = torch.arange(start, min(start + TILE, len(queue)), device=queue.device)
            similarities = queries @ queue[start : start + TILE].T / temperature
            return similarities.masked_fill(places >= num_filled, -torch.inf)

        starts = range(0, len(queue), TILE)
        true = (queries * keys).sum(1) / temperature
        totals = true
        for start in starts:
            totals = torch.logaddexp(totals, logits(start).logsumexp(1))
        gradients = ((true - totals).exp() - 1)[:, None] * keys
        for start in starts:
            gradients += (logits(start) - totals[:, None]).exp() @ queue[start : start + TILE]
        ctx.save_for_backward(gradients / (temperature * len(queries)))
        return (totals - true).mean()

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError("a loss in tiles is differentiable only once")
        (gradients,) = ctx.saved_tensors
        return outer * gradients, None, None, None, None


class MomentumContrastLoss(nn.Module):
    """`momentum_contrast_loss` with its queue, which the batch's keys enter afterwards.

    The queue starts empty and empty entries are ignored, where MoCo fills them with random vectors: embeddings of a new
    network point in similar directions, so random vectors are easy negatives that teach nothing about images. The first
    batch has no negatives and loss 0; the loss then rises with the number of negatives until the queue is full.

    Args:
        queue_size: k, number of keys kept; the oldest are replaced.
        dim: of a key.
        temperature: > 0.
    """

    def __init__(self, queue_size: int, dim: int, temperature: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature
        self.queue: Tensor
        self.queue_filled: Tensor
        self.queue_next: Tensor
        # Buffers are saved with the weights, so that a resumed run has the same negatives.
        self.register_buffer("queue", torch.zeros(queue_size, dim))
        self.register_buffer("queue_filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("queue_next", torch.zeros((), dtype=torch.int64))

    @override
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The loss of a batch, (n, d) each, whose keys then enter the queue: call it once per batch."""
        loss = momentum_contrast_loss(queries, keys, self.queue, self.queue_filled, self.temperature)
        self.enqueue(keys)
        return loss

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Replaces the oldest keys by (n, d) new ones, or by the last of them if there are more than the queue holds.

        Entry `queue_next` is the oldest of a full queue.
        """
        size = len(self.queue)
        kept = keys[-size:].to(self.queue.dtype)
        places = (self.queue_next + torch.arange(len(kept), device=kept.device)) % size
        self.queue[places] = kept
        self.queue_next.add_(len(kept)).remainder_(size)
        self.queue_filled.add_(len(kept)).clamp_(max=size)
