"""Base of fine-tuning tasks: batch layout and loading, synchronised batch norm, outputs of a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import IterableDataset
from typing_extensions import override

from downstream.running.inference import outputs_in_order
from downstream.running.passes import OwnShare
from downstream.settings import DownstreamSettings
from pretrain import distributed
from pretrain.data.batches import BatchLayout, Part, training_loader
from pretrain.encoders.building import synced
from pretrain.training.task import Task

Network = TypeVar("Network", bound=nn.Module)


class FineTuning(Task):
    """Fine-tuning of a network on the training split of a benchmark.

    Args:
        settings: checked settings, with the batch size resolved.
        accelerator: the processes that train together.
        num_items: number of training items.

    Raises:
        UserError: batch size, processes and number of items don't match.
    """

    settings: DownstreamSettings

    def __init__(self, settings: DownstreamSettings, accelerator: Accelerator, num_items: int) -> None:
        self.settings = settings
        self.device = accelerator.device
        self.layout = BatchLayout(settings.batch_size, distributed.num_processes(), settings.optimizer.accumulation)
        self.per_process = self.layout.per_process
        self.steps_per_epoch = self.layout.steps_per_epoch(num_items)
        self._readers: dict[str, OwnShare[Any]] = {}

    def placed(self, module: Network) -> Network:
        """Moves a network to the task's device; on several GPUs, batch norm is synchronised over all processes."""
        if self.device.type == "cuda" and distributed.num_processes() > 1:
            # The items of one process are too few for batch statistics.
            module = synced(module)
        return module.to(self.device)

    def part(self, first_step: int, last_step: int) -> Part:
        """This process's share of the batches of some steps."""
        return Part(rank=distributed.rank(), first_step=first_step, last_step=last_step)

    def read(self, batches: IterableDataset[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Training batches, loaded by worker processes."""
        return iter(training_loader(batches, workers=self.settings.workers, pin_memory=self.device.type == "cuda"))

    def outputs(
        self,
        part: str,
        reader: Callable[[], OwnShare[Any]],
        compute: Callable[[Mapping[str, Tensor]], Tensor],
        *,
        width: int,
    ) -> NDArray[np.float32]:
        """Applies `compute` to a part: (n, width) in the order of the items, on every process.

        Args:
            part: "val" or "test".
            reader: makes the reader of the part's items; called once, for readers keep their processes.
            compute: from a batch on the device to (n, width).
            width: numbers an item.

        Raises:
            FloatingPointError: an output is not finite.
        """
        if part not in self._readers:
            self._readers[part] = reader()
        found = outputs_in_order(
            compute, self._readers[part], width=width, device=self.device, precision=self.settings.precision
        )
        if not np.isfinite(found).all():
            raise FloatingPointError(f"class scores of the {part} split are not finite")
        return found

    @override
    def step_metrics(
        self, step: int, loss: float, outputs: dict[str, Tensor], *, first_loss: float | None
    ) -> tuple[dict[str, float], list[str]]:
        """No metrics besides the loss."""
        return {}, []
