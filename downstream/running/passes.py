"""Repeated passes over items in order: each process reads its share, with loader processes that persist."""

from __future__ import annotations

import abc
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info
from typing_extensions import override

from pretrain import distributed
from pretrain.data.batches import next_batch, training_loader

Item = TypeVar("Item")


class Passes(IterableDataset[dict[str, Any]], abc.ABC, Generic[Item]):
    """Batches of items in order, repeated endlessly; worker w of W makes every W-th batch."""

    def __init__(self, items: Sequence[Item], *, batch_size: int) -> None:
        super().__init__()
        self.items = items
        self.batch_size = batch_size

    @abc.abstractmethod
    def make(self, items: Sequence[Item]) -> dict[str, Any]:
        """Creates a batch from some items."""

    @property
    def batches_per_pass(self) -> int:
        """The last batch may be smaller."""
        return math.ceil(len(self.items) / self.batch_size)

    @override
    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for number in itertools.count(first, stride):
            start = number % self.batches_per_pass * self.batch_size
            yield self.make(self.items[start : start + self.batch_size])


class OwnShare(Generic[Item]):
    """This process's share of items, in batches; iterable repeatedly.

    The loader's processes stay between two passes: to start them takes seconds, longer than a small test part.

    Args:
        items: of all processes.
        passes: from this process's items to passes over them.
        workers: loader processes of this process.
    """

    def __init__(
        self, items: Sequence[Item], passes: Callable[[Sequence[Item]], Passes[Item]], *, workers: int
    ) -> None:
        self.num_items = len(items)
        own = items[distributed.rank() :: distributed.num_processes()]
        self.num_own = len(own)
        self._batches = passes(own)
        self._workers = workers
        self._stream: Iterator[dict[str, Any]] | None = None

    def one_pass(self) -> Iterator[dict[str, Any]]:
        """Yields the batches of one pass; must be consumed to the end."""
        if self._stream is None:
            self._stream = iter(training_loader(self._batches, workers=self._workers, pin_memory=False))
        for _ in range(self._batches.batches_per_pass):
            yield next_batch(self._stream)
