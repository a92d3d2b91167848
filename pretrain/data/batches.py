"""Batches for training: every process's part of every global batch, whatever the number of workers."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import torch
import webdataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info
from typing_extensions import Unpack, override

from pretrain import distributed
from pretrain.data.loader_processes import START_METHOD, start_server
from pretrain.data.seeds import sample_seed
from pretrain.data.views import ImageAndSound, Views
from pretrain.settings.pretraining import Config
from shards.child_processes import end_with_parent, ignore_signals
from shards.errors import UnreadableShard, UserError
from shards.schema import TRAIN_SPLIT
from shards.streaming.cache import BYTES_PER_GB, StreamSettings
from shards.streaming.reading import ShardSet


def open_training_shards(config: Config) -> ShardSet:
    """The shard set of a run, opened as its settings say; the first process of a machine checks its files.

    The others meet a shard that is at fault when they first use it.

    Raises:
        UserError: there is none, a shard of the training split is at fault and not to be skipped, or its blocks
            don't fit the cache.
    """
    settings = StreamSettings(
        cache_folder=config.data.cache_dir,
        cache_bytes=int(config.data.cache_gb * BYTES_PER_GB),
        allow_pipe=config.data.allow_pipe,
    )
    shard_set = ShardSet.open(config.shards, settings)
    if distributed.is_first_on_machine():
        shard_set.check_files(TRAIN_SPLIT, skip_unreadable=config.data.skip_bad_shards)
    shard_set.prepare_blocks(TRAIN_SPLIT, config.data.block_samples)
    return shard_set


@dataclass(frozen=True)
class BatchLayout:
    """How a global batch is dealt to processes and accumulation steps.

    Attributes:
        batch_size: pairs of a global batch.
        num_processes: training processes.
        accumulation: parts computed one after another; a part is dealt over all processes.
    """

    batch_size: int
    num_processes: int = 1
    accumulation: int = 1

    def __post_init__(self) -> None:
        parts = self.num_processes * self.accumulation
        if self.batch_size % parts:
            raise UserError(
                f"batch_size must be divisible by processes x optimizer.accumulation = {self.num_processes} x "
                f"{self.accumulation} = {parts}, got {self.batch_size}; "
                f"{self.batch_size - self.batch_size % parts or parts} would do"
            )
        if self.batch_size // self.accumulation < 2:
            raise UserError(
                f"batch_size / optimizer.accumulation must be >= 2, for a pair needs a negative, got "
                f"{self.batch_size} / {self.accumulation}"
            )

    @property
    def per_process(self) -> int:
        """Pairs that one process embeds at once."""
        return self.batch_size // (self.num_processes * self.accumulation)

    def steps_per_epoch(self, num_samples: int) -> int:
        """Whole global batches in an epoch; the remainder, less than one batch, is left out.

        Raises:
            UserError: the split is smaller than one batch.
        """
        if num_samples < self.batch_size:
            raise UserError(
                f"batch_size must be at most the {num_samples} pairs of the training split, got {self.batch_size}; "
                "take a smaller --batch-size or more data"
            )
        return num_samples // self.batch_size

    def positions(self, step: int, part: int, rank: int) -> range:
        """Positions in the epoch's order of what a process embeds in one part of one step of that epoch."""
        start = step * self.batch_size + (part * self.num_processes + rank) * self.per_process
        return range(start, start + self.per_process)


class Part(TypedDict):
    """Which of a run's batches a process makes: its number, the first step, and the step before which to end."""

    rank: int
    first_step: int
    last_step: int


class DealtBatches(IterableDataset[dict[str, Any]], abc.ABC):
    """One process's batches from a given step to the last; worker w of W makes every W-th of them.

    A loader takes batches from its workers in turn, so their order is the same for any number of workers, and
    together the processes see the same global batches for any number of processes.

    Args:
        num_items: of the training part.
        layout: how a global batch is dealt.
        rank: this process's number.
        first_step: the first step to give, counted from the beginning of the run.
        last_step: the step before which to end.
    """

    def __init__(self, num_items: int, layout: BatchLayout, *, rank: int, first_step: int, last_step: int) -> None:
        super().__init__()
        self.num_items = num_items
        self.layout = layout
        self.rank = rank
        self.first_step = first_step
        self.last_step = last_step

    @abc.abstractmethod
    def order(self, epoch: int) -> NDArray[np.int64]:
        """The items' numbers in the order of an epoch, (num_items,)."""

    @abc.abstractmethod
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        """A batch.

        Args:
            order: of the epoch.
            positions: in it, of the batch's items.
            epoch: from 0.

        Raises:
            UserError: an item can't be read.
        """

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        steps_per_epoch = self.layout.steps_per_epoch(self.num_items)
        order, order_epoch = np.empty(0, dtype=np.int64), -1
        begin, end = (step * self.layout.accumulation for step in (self.first_step, self.last_step))
        for number in range(begin + first, end, stride):
            step, part = divmod(number, self.layout.accumulation)
            epoch, step_of_epoch = divmod(step, steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = self.order(epoch), epoch
            try:
                yield self.make(order, self.layout.positions(step_of_epoch, part, self.rank), epoch)
            except UserError as error:
                # Raised in a worker it would reach the user inside a traceback; `next_batch` raises it.
                yield {"error": str(error)}
                return


class ShardBatches(DealtBatches):
    """Batches of the training pairs of a shard set, in the order of each epoch.

    Args:
        shard_set: where the samples are.
        config: the run's settings.
        layout: how a global batch is dealt.
        rank: this process's number.
        first_step: the first step to give, counted from the beginning of the run.
        last_step: the step before which to end.
    """

    def __init__(
        self,
        shard_set: ShardSet,
        config: Config,
        layout: BatchLayout,
        **part: Unpack[Part],
    ) -> None:
        super().__init__(shard_set.num_samples(TRAIN_SPLIT), layout, **part)
        self.shard_set = shard_set
        self.config = config

    @override
    def order(self, epoch: int) -> NDArray[np.int64]:
        block_samples = self.config.data.block_samples
        return self.shard_set.epoch_order(TRAIN_SPLIT, seed=self.config.seed, epoch=epoch, block_samples=block_samples)


class TrainingBatches(ShardBatches):
    """The batches of a pre-training run.

    With `data.skip_bad_shards`, a sample whose shard can't be read is replaced by the one at the same place of the
    next global batch of the epoch whose shard can be (after the last comes the first). So every batch stays full and
    without repetition, the number of steps stays, no process has to know what another could read, and the order is
    the same again as long as the same shards are unreadable.

    Args:
        shard_set, config, layout, rank, first_step, last_step: see `ShardBatches`.
        views: what a batch holds of each pair; None: its image and its sound.
    """

    def __init__(
        self,
        shard_set: ShardSet,
        config: Config,
        layout: BatchLayout,
        *,
        views: Views | None = None,
        **part: Unpack[Part],
    ) -> None:
        super().__init__(shard_set, config, layout, **part)
        self.views = views or ImageAndSound(config.data, shard_set.manifest.spectrogram)

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        # Half a block on: when this block is half used, the next one's shards are fetched.
        ahead = positions.start + self.config.data.block_samples // 2
        self.shard_set.fetch_ahead(TRAIN_SPLIT, order[ahead : ahead + self.layout.batch_size])
        keys, num_replaced = [], 0
        entries = {
            name: _shared(len(positions), *shape, dtype=dtype) for name, (shape, dtype) in self.views.entries.items()
        }
        for place, position in enumerate(positions):
            for candidate in self._candidates(position):
                try:
                    sample = self.shard_set.sample(TRAIN_SPLIT, int(order[candidate]))
                    seed = sample_seed(self.config.seed, epoch, sample.key)
                    self.views.write(sample, seed, {name: entry[place].numpy() for name, entry in entries.items()})
                    break
                except UnreadableShard as error:
                    if not self.config.data.skip_bad_shards:
                        raise
                    self.shard_set.unreadable[error.shard] = str(error)
            else:
                unreadable = self.shard_set.unreadable
                raise UserError(
                    f"too many training shards can't be read to fill a batch, {len(unreadable)}; the first: "
                    f"{next(iter(unreadable.values()))}"
                )
            num_replaced += candidate != position
            keys.append(sample.key)
        return {
            "keys": keys,
            **entries,
            "num_replaced": num_replaced,
            "unreadable_shards": dict(self.shard_set.unreadable),
        }

    def _candidates(self, position: int) -> Iterator[int]:
        """A position in the epoch's order and those that may replace it, one in each other global batch."""
        size = self.layout.batch_size
        end = self.layout.steps_per_epoch(self.num_items) * size
        return ((position + offset) % end for offset in range(0, end, size))


def _shared(*shape: int, dtype: torch.dtype) -> Tensor:
    """An empty tensor; in a loader's worker in memory shared with the trainer, so that it is not copied."""
    empty = torch.empty(shape, dtype=dtype)
    return empty.share_memory_() if get_worker_info() else empty


def training_loader(
    batches: IterableDataset[dict[str, Any]], *, workers: int, pin_memory: bool
) -> webdataset.WebLoader:
    """A loader that keeps `workers` processes reading ahead; each yields whole batches.

    Every batch holds "keys" (list of str), tensors with a row for each of its items, "num_replaced", how many of its
    samples replace unreadable ones, and "unreadable_shards", a sentence for each shard that can't be read.
    """
    if workers:
        start_server()
    return webdataset.WebLoader(
        batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=2 if workers else None,
        multiprocessing_context=START_METHOD if workers else None,
        worker_init_fn=_start_worker,
    )


def next_batch(stream: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The loader's next batch.

    Raises:
        UserError: a sample can't be read, or a loader process was killed.
    """
    try:
        batch = next(stream)
    except RuntimeError as error:
        raise UserError(
            f"a loader process ended ({' '.join(str(error).split())[:200]}); it may have been killed for want of "
            "memory: try fewer --data.workers, or 0 to see its own error"
        ) from error
    if "error" in batch:
        raise UserError(batch["error"])
    return batch


def _start_worker(_worker: int) -> None:
    import cv2

    end_with_parent()
    ignore_signals()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def to_device(batch: dict[str, object], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a batch on the device, copied while the device still works."""
    return {name: value.to(device, non_blocking=True) for name, value in batch.items() if isinstance(value, Tensor)}
