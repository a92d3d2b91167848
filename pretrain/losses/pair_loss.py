"""The interface of a loss on pairs."""

from __future__ import annotations

from torch import nn


class PairLoss(nn.Module):
    """A module from (n, d) image and (n, d) sound embeddings, row i of both from pair i, to a scalar.

    Learned parameters and buffers, such as a queue or a counter of random draws, are saved with the weights.
    """

    on_sphere: bool
    """Whether the loss takes embeddings of length 1; the towers are trained, and later compared, accordingly."""
    inputs: tuple[str, ...] = ()
    """Entries of the batch that `forward` takes after the embeddings; choose from `pretrain.data.views.ADDITIONS`."""
