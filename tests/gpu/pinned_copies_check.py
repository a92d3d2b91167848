"""Batches that are copied from pinned memory while the device works arrive as the loader made them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from gpu.items import Place
from gpu.jpeg_shards import jpeg_shards

BATCH_SIZE, BATCHES, WORKERS = 128, 40, 4


def batches_arrive_unchanged(place: Place) -> dict[str, Any]:
    """The trainer's loader and its copy to the device, against the same batches read without either.

    Raises:
        AssertionError: a batch is not pinned, or differs.
    """
    from pretrain.data.batches import BatchLayout, TrainingBatches, next_batch, to_device, training_loader
    from pretrain.presets import PRESETS
    from shards.streaming.reading import ShardSet

    config = replace(PRESETS["soundingearth-resnet18"], batch_size=BATCH_SIZE)
    shard_set = ShardSet.open(jpeg_shards(place))

    def batches() -> TrainingBatches:
        return TrainingBatches(
            shard_set, config, BatchLayout(BATCH_SIZE), rank=0, first_step=0, last_step=BATCHES
        )  # fmt: skip

    stream = iter(training_loader(batches(), workers=WORKERS, pin_memory=True))
    device, busy = torch.device(place.device), torch.randn(4096, 4096, device=place.device)
    sums = []
    for _ in range(BATCHES):
        batch = next_batch(stream)
        assert batch["image"].is_pinned(), "the loader's batches are not pinned"
        assert batch["sound"].is_pinned(), "the loader's batches are not pinned"
        for _ in range(4):
            busy = torch.tanh(busy @ busy)  # the copies queue behind it, and the host goes on
        tensors = to_device(batch, device)
        del batch
        sums.append(torch.stack([_checksum(tensors[name]) for name in ("image", "sound")]))
    expected = [[_checksum(batch[name]) for name in ("image", "sound")] for batch in batches()]
    differing = [i for i, ours in enumerate(sums) if ours.tolist() != [value.item() for value in expected[i]]]
    assert not differing, f"batches {differing[:5]} of {BATCHES} arrived changed"
    return {"batches": BATCHES, "mib": round(BATCHES * BATCH_SIZE * (3 * 192**2 + 128**2) / 2**20)}


def _checksum(tensor: torch.Tensor) -> torch.Tensor:
    """A sum of bytes weighted by their places."""
    flat = tensor.reshape(-1).long()
    return (flat * (torch.arange(len(flat), device=flat.device) % 65_521 + 1)).sum()
