"""A queue of pairs from past batches, used as extra negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PastPairs(nn.Module):
    """The embeddings of the last `size` pairs, in buffers, which are saved with the weights.

    A cross-batch memory (Wang et al., CVPR 2020): embeddings change slowly, so past ones are still useful.

    Args:
        size: number of pairs kept.
        dim: d of the embeddings.
    """

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.images: Tensor
        self.sounds: Tensor
        self.places: Tensor
        self.identities: Tensor
        self.is_filled: Tensor
        self.next: Tensor
        self.register_buffer("images", torch.zeros(size, dim))
        self.register_buffer("sounds", torch.zeros(size, dim))
        self.register_buffer("places", torch.full((size, 3), torch.nan))
        self.register_buffer("identities", torch.zeros(size, dtype=torch.int64))
        self.register_buffer("is_filled", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("next", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def add(self, images: Tensor, sounds: Tensor, identities: Tensor, places: Tensor | None) -> None:
        """Replaces the oldest pairs by a batch: (n, d) twice, (n,) int64 and (n, 3)."""
        kept = min(len(images), self.size)
        to = (self.next + torch.arange(kept, device=images.device)) % self.size
        self.images[to] = images[-kept:].to(self.images)
        self.sounds[to] = sounds[-kept:].to(self.sounds)
        self.identities[to] = identities[-kept:]
        if places is not None:
            self.places[to] = places[-kept:].to(self.places)
        self.is_filled[to] = True
        self.next.copy_((self.next + kept) % self.size)
