"""Each query has to find its own key among a queue of past batches' keys (MoCo)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain.losses.batch_triplet import check_pairs

TILE = 8192
"""Keys of the queue whose similarities are held at once."""


def momentum_contrast_loss(
    queries: Tensor, keys: Tensor, queue: Tensor, num_filled: Tensor, temperature: float = 0.2
) -> Tensor:
    """Cross-entropy of each query's own key among itself and the keys of a queue.

    L = −1/n Σ_i log(exp(q_i·k_i / τ) / (exp(q_i·k_i / τ) + Σ_j exp(q_i·z_j / τ))) (He et al., CVPR 2020, Eq. 1), with
    z_j the filled places of the queue. Vectors are taken as they are: give them length 1. It is computed in at least
    float32 and in tiles of the queue, so that memory grows with n and k, not with their product.

    Args:
        queries: (n, d), n ≥ 2; they alone get a gradient, which can be differentiated no further.
        keys: (n, d); row i belongs to query i.
        queue: (k, d).
        num_filled: scalar int64; the first so many places of the queue are filled, the others count as absent.
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
    """One pass for the sums of exponentials, one for the gradients, which are kept: n · d numbers.

    So the queue may be changed before the backward pass.
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
            raise RuntimeError("a loss in tiles can be differentiated only once")
        (gradients,) = ctx.saved_tensors
        return outer * gradients, None, None, None, None


class MomentumContrastLoss(nn.Module):
    """`momentum_contrast_loss` with the queue that it takes from and, afterwards, puts the batch's keys into.

    The queue starts empty and its empty places count as absent, where MoCo's hold random vectors: a new network's
    embeddings share much of their direction, so random vectors are easily told from them and teach nothing about
    images. The first batch has no negatives and its loss is 0; the loss then rises with their number until the queue
    is full.

    Args:
        queue_size: k, keys that are kept; the oldest make room.
        dim: of a key.
        temperature: > 0.
    """

    def __init__(self, queue_size: int, dim: int, temperature: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature
        self.queue: Tensor
        self.queue_filled: Tensor
        self.queue_next: Tensor
        # Buffers: they are saved with the weights, so that a resumed run has the negatives that it would have had.
        self.register_buffer("queue", torch.zeros(queue_size, dim))
        self.register_buffer("queue_filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("queue_next", torch.zeros((), dtype=torch.int64))

    @override
    def forward(self, queries: Tensor, keys: Tensor) -> Tensor:
        """The loss of a batch, (n, d) each, whose keys are in the queue afterwards: call it once for each batch."""
        loss = momentum_contrast_loss(queries, keys, self.queue, self.queue_filled, self.temperature)
        self.enqueue(keys)
        return loss

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Puts (n, d) keys in the places of the oldest; of more than there are places, the last ones.

        Place `queue_next` holds the oldest key of a full queue.
        """
        size = len(self.queue)
        kept = keys[-size:].to(self.queue.dtype)
        places = (self.queue_next + torch.arange(len(kept), device=kept.device)) % size
        self.queue[places] = kept
        self.queue_next.add_(len(kept)).remainder_(size)
        self.queue_filled.add_(len(kept)).clamp_(max=size)
