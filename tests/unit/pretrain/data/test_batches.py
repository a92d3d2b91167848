"""Training batches: the same global batches for any number of processes, workers and accumulation steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pretrain.data.audio_transforms import random_crop_start
from pretrain.data.batches import BatchLayout, TrainingBatches, training_loader
from pretrain.data.image_transforms import RandomImageView
from pretrain.data.seeds import sample_seed
from pretrain.settings.pretraining import Config, DataSettings
from shards.decoding.jpeg_parts import Box
from shards.errors import UserError
from shards.streaming.reading import ShardSet, StoredSample

CONFIG = Config(batch_size=8, data=DataSettings(image_size=32, num_frames=64, workers=0, block_samples=20))


def keys_of(
    shards: Path, *, processes: int = 1, accumulation: int = 1, workers: int = 0, steps: range = range(12)
) -> list[list[str]]:
    """The keys of each step's global batch, processes and parts put together."""
    layout = BatchLayout(CONFIG.batch_size, processes, accumulation)
    loaders = [
        training_loader(
            TrainingBatches(
                ShardSet.open(shards), CONFIG, layout, rank=rank, first_step=steps.start, last_step=steps.stop
            ),
            workers=workers,
            pin_memory=False,
        )
        for rank in range(processes)
    ]
    streams = [iter(loader) for loader in loaders]
    return [[key for _ in range(accumulation) for stream in streams for key in next(stream)["keys"]] for _ in steps]


def test_global_batches_do_not_depend_on_who_reads_them(tiny_shards: Path) -> None:
    alone = keys_of(tiny_shards)
    assert keys_of(tiny_shards, processes=2) == alone
    assert keys_of(tiny_shards, accumulation=4) == alone
    assert keys_of(tiny_shards, processes=2, accumulation=2) == alone


def test_workers_do_not_change_order_or_pixels(tiny_shards: Path) -> None:
    def batches(workers: int) -> list[dict[str, object]]:
        part = TrainingBatches(ShardSet.open(tiny_shards), CONFIG, BatchLayout(8), rank=0, first_step=4, last_step=9)
        return list(training_loader(part, workers=workers, pin_memory=False))

    for a, b in zip(batches(0), batches(2), strict=True):
        assert a["keys"] == b["keys"]
        assert torch.equal(a["image"], b["image"])  # type: ignore[arg-type]
        assert torch.equal(a["sound"], b["sound"])  # type: ignore[arg-type]


def test_starting_later_gives_the_same_rest(tiny_shards: Path) -> None:
    assert keys_of(tiny_shards, steps=range(5, 12)) == keys_of(tiny_shards)[5:]


def test_what_was_trained_before_is_not_read_again(tiny_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers: list[int] = []
    read = ShardSet.sample

    def counted(self: ShardSet, split: str, number: int) -> StoredSample:
        numbers.append(number)
        return read(self, split, number)

    monkeypatch.setattr(ShardSet, "sample", counted)
    # A million epochs on, the third step of an epoch: nothing before it is read, and no other epoch is gone through.
    step = 6 * 10**6 + 2
    part = TrainingBatches(
        ShardSet.open(tiny_shards), CONFIG, BatchLayout(8), rank=0, first_step=step, last_step=step + 1
    )
    assert len(list(part)) == 1
    assert len(numbers) == 8


def test_an_epoch_uses_each_pair_at_most_once_and_leaves_out_less_than_a_batch(tiny_shards: Path) -> None:
    # 48 pairs in batches of 10: 4 steps an epoch, and other 8 pairs are left out each time.
    config = replace(CONFIG, batch_size=10)
    part = TrainingBatches(ShardSet.open(tiny_shards), config, BatchLayout(10), rank=0, first_step=0, last_step=8)
    keys = [batch["keys"] for batch in part]
    first, second = ({key for batch in keys[start : start + 4] for key in batch} for start in (0, 4))  # type: ignore[attr-defined]
    assert len(first) == len(second) == 40
    assert first != second


@given(
    samples=st.integers(1, 5000),
    per_process=st.integers(1, 40),
    processes=st.integers(1, 8),
    accumulation=st.integers(1, 4),
)
def test_positions_are_dealt_once(samples: int, per_process: int, processes: int, accumulation: int) -> None:
    batch_size = per_process * processes * accumulation
    if batch_size // accumulation < 2 or samples < batch_size:
        return
    layout = BatchLayout(batch_size, processes, accumulation)
    steps = layout.steps_per_epoch(samples)
    dealt = [
        position
        for step in range(min(steps, 3))
        for part in range(accumulation)
        for rank in range(processes)
        for position in layout.positions(step, part, rank)
    ]
    assert dealt == list(range(min(steps, 3) * batch_size))
    assert 0 <= samples - steps * batch_size < batch_size


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ((64, 3, 1), "batch_size must be divisible by .* = 3, got 64; 63 would do"),
        ((4, 1, 4), "must be >= 2, for a pair needs a negative"),
    ],
)
def test_an_impossible_layout_is_refused(layout: tuple[int, int, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BatchLayout(*layout)


def test_a_batch_larger_than_the_split_is_refused(tiny_shards: Path) -> None:
    with pytest.raises(UserError, match="batch_size must be at most the 48 pairs of the training split, got 64"):
        BatchLayout(64).steps_per_epoch(ShardSet.open(tiny_shards).num_samples("train"))


def test_augmentation_follows_seed_epoch_and_key_only(tiny_shards: Path) -> None:
    assert sample_seed(0, 1, "a") == sample_seed(0, 1, "a")
    assert len({sample_seed(s, e, k) for s in (0, 1) for e in (0, 1) for k in ("a", "b", "1/a")}) == 12

    def image_of(config: Config, step: int) -> torch.Tensor:
        part = TrainingBatches(
            ShardSet.open(tiny_shards), config, BatchLayout(8), rank=0, first_step=step, last_step=step + 1
        )
        return next(iter(part))["image"]  # type: ignore[return-value]

    assert torch.equal(image_of(CONFIG, 0), image_of(CONFIG, 0))
    assert not torch.equal(image_of(CONFIG, 0), image_of(replace(CONFIG, seed=1), 0))


def test_a_batch_holds_the_views_that_its_keys_seeds_give(tiny_shards: Path) -> None:
    # Only a part of each image is decoded, and views are written into the batch; neither shows.
    shard_set, view = ShardSet.open(tiny_shards), RandomImageView(CONFIG.data)
    samples = {sample.key: sample for sample in shard_set.samples("train")}
    batch = next(iter(TrainingBatches(shard_set, CONFIG, BatchLayout(8), rank=0, first_step=0, last_step=1)))
    for place, key in enumerate(batch["keys"]):  # type: ignore[arg-type, var-annotated]
        seed, sample = sample_seed(CONFIG.seed, 0, key), samples[key]
        expected = torch.from_numpy(view(sample.image(), seed))
        assert torch.equal(batch["image"][place], expected)  # type: ignore[index]
        frames = sample.frames(random_crop_start(sample.num_frames, 64, seed), 64)
        assert batch["sound"][place, 0].tolist() == frames.tolist()  # type: ignore[index]


def test_an_image_that_is_damaged_is_named(tiny_shards: Path) -> None:
    class Damaged(StoredSample):
        def image_bytes(self) -> bytes:
            return super().image_bytes()[:-100]

    sample = ShardSet.open(tiny_shards).sample("train", 0)
    with pytest.raises(UserError, match=f"image of sample {sample.key} in .* can't be decoded .*verify"):
        Damaged(sample.tar_path, sample.entry, sample.files).image_part(lambda height, width: Box(0, 0, 8, 8))
