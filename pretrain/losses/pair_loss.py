"""The interface of a loss on pairs."""

from __future__ import annotations

from torch import nn


class PairLoss(nn.Module):
    """A module from (n, d) image and (n, d) sound embeddings, row i of both from pair i, to a scalar.

    Learned parameters and buffers, such as a queue or a counter of random draws, are saved with the weights.
    """

    on_sphere: bool
    """Whether embeddings are scaled to length 1, in training and when they are compared later."""
    inputs: tuple[str, ...] = ()
    """Entries of the batch that `forward` takes after the embeddings, from `pretrain.data.views.ADDITIONS`."""
