"""What the trainer asks of a pre-training method."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from pretrain.model import TwoTower


class Method(nn.Module, abc.ABC):
    """A module whose `forward` embeds one process's part of a batch.

    The trainer gathers those embeddings from all processes, with gradients, and asks `loss` for the loss of
    the global batch; so a method knows nothing of processes.
    """

    towers: TwoTower
    """What is trained, and released in the end."""

    @abc.abstractmethod
    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeds the views of a batch: each entry of the result is (n, d), row i from pair i."""

    @abc.abstractmethod
    def loss(self, embeddings: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar, of the global batch's embeddings."""
