"""The interface of a pre-training method."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn
from typing_extensions import Unpack

from pretrain.data.batches import BatchLayout, Part, TrainingBatches, training_loader
from pretrain.data.views import Views
from pretrain.model import TwoTower
from pretrain.settings.pretraining import Config
from pretrain.training.task import Evaluation, WholeWeights
from shards.streaming.reading import ShardSet


class Method(nn.Module, abc.ABC):
    """A module whose `forward` embeds one process's part of a batch.

    The trainer gathers the embeddings of all processes, with gradients, and calls `loss` on the global batch, so losses
    need no distributed code. State that outlives a step (a queue, a draw counter) belongs in buffers: they are saved
    with the weights, and a resumed run continues from them.
    """

    towers: TwoTower
    """The towers, which are trained and released."""
    views: Views
    """Makes the entries of a batch from stored pairs."""
    loss_inputs: tuple[str, ...] = ()
    """Entries of the batch that `loss` needs besides the embeddings; gathered from all processes."""

    @abc.abstractmethod
    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Embeds the views of a batch; each entry of the result is (n, d), row i from pair i."""

    @abc.abstractmethod
    def loss(self, embeddings: dict[str, Tensor], inputs: dict[str, Tensor]) -> Tensor:
        """The loss, a scalar, of the global batch's embeddings and `loss_inputs`; called once per batch."""

    @abc.abstractmethod
    def validate(self, shard_set: ShardSet, config: Config) -> Evaluation:
        """Scores the towers, in evaluation mode, on the validation split; equal on every process.

        Raises:
            FloatingPointError: an embedding is not finite.
        """

    def training_batches(
        self, shard_set: ShardSet, config: Config, layout: BatchLayout, **part: Unpack[Part]
    ) -> Iterator[dict[str, Any]]:
        """This process's batches of steps [first_step, last_step); every process calls it together."""
        batches = TrainingBatches(shard_set, config, layout, views=self.views, **part)
        on_gpu = next(self.parameters()).device.type == "cuda"
        return iter(training_loader(batches, workers=config.data.workers, pin_memory=on_gpu))

    def after_step(self, whole_weights: WholeWeights) -> None:  # most methods have nothing to do
        """Called after each optimiser step."""
