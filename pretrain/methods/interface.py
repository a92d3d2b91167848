"""What the trainer asks of a pre-training method."""

from __future__ import annotations

import abc
from collections.abc import Mapping

from torch import Tensor, nn

from pretrain.data.views import Views
from pretrain.model import TwoTower
from pretrain.settings.pretraining import Config
from pretrain.training.task import Evaluation, WholeWeights
from shards.streaming.reading import ShardSet


class Method(nn.Module, abc.ABC):
    """A module whose `forward` embeds one process's part of a batch.

    The trainer gathers those embeddings from all processes, with gradients, and asks `loss` for the loss of
    the global batch; so a loss knows nothing of processes. What has to outlast a step (a queue, the number of a draw)
    is a buffer: it is saved with the weights, and a resumed run goes on from it.
    """

    towers: TwoTower
    """What is trained, and released in the end."""
    views: Views
    """What it takes of each pair."""
    loss_inputs: tuple[str, ...] = ()
    """Entries of the batch that the loss takes beside the embeddings; gathered from all processes."""

    @abc.abstractmethod
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds the views of a batch: each entry of the result is (n, d), row i from pair i."""

    @abc.abstractmethod
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar, of the global batch's embeddings and `loss_inputs`; called once for each batch."""

    @abc.abstractmethod
    def validate(self, shard_set: ShardSet, config: Config) -> Evaluation:
        """How well the towers, in evaluation mode, do on the validation split; the same on every process.

        Raises:
            FloatingPointError: an embedding is not finite.
        """

    def after_step(self, whole_weights: WholeWeights) -> None:  # most methods have nothing to do
        """Called when the weights have been moved."""
