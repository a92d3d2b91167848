"""Batches of labelled images from disk: shuffled for training, in order for evaluation; unreadable ones are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from downstream.running.corrupt import refuse_corrupt
from downstream.running.items import SceneItem
from downstream.running.passes import Passes
from downstream.running.shuffled_batches import ShuffledBatches
from pretrain import distributed
from pretrain.data.batches import BatchLayout, Part
from pretrain.data.seeds import sample_seed
from shards.errors import RejectedPair
from shards.progress import ProgressLine

ImageView = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""(height, width, 3) uint8 and a seed → (3, size, size) uint8; must be picklable for loader processes."""


@dataclass(frozen=True)
class WholeImage:
    """The whole image, resized to a square of `image_size`; used by `paper` in training and test."""

    image_size: int

    def __call__(self, image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:  # noqa: ARG002  # nothing is random
        """(height, width, 3) uint8 → (3, image_size, image_size) uint8."""
        size = (self.image_size, self.image_size)
        if image.shape[:2] != size:
            interpolation = cv2.INTER_AREA if self.image_size < min(image.shape[:2]) else cv2.INTER_LINEAR
            image = cv2.resize(image, size, interpolation=interpolation).astype(np.uint8)
        return np.ascontiguousarray(image.transpose(2, 0, 1))


def check_images(
    items: Sequence[SceneItem], *, max_corrupt: float, threads: int = 1
) -> tuple[list[SceneItem], list[str]]:
    """Separates items whose image can't be decoded; the work is shared by all processes, which return the same result.

    Args:
        items: the items to check.
        max_corrupt: maximum share of unreadable images.
        threads: number of threads of this process.

    Returns:
        The readable items, and a message for each of the others, both in the items' order.

    Raises:
        UserError: too many images are unreadable; the message names the first.
    """
    own = range(distributed.rank(), len(items), distributed.num_processes())
    found: dict[int, str] = {}
    title = "checking images"
    with (
        ProgressLine(title, len(own), enabled=distributed.is_first()) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        for i, fault in zip(own, pool.map(_fault, (items[i] for i in own)), strict=True):
            progress.advance()
            if fault is not None:
                found[i] = fault
    faults = {i: fault for part in distributed.gather_objects(found) for i, fault in part.items()}
    sentences = [f"{items[i].key}: {faults[i]}" for i in sorted(faults)]
    refuse_corrupt(sentences, len(items), "images", max_corrupt)
    return [item for i, item in enumerate(items) if i not in faults], sentences


def _fault(item: SceneItem) -> str | None:
    try:
        item.load()
    except RejectedPair as error:
        return str(error)
    return None


class SceneBatches(ShuffledBatches):
    """The training batches of a scene benchmark; a view depends on (seed, epoch, key).

    Args:
        items: the training items.
        view: preprocessing of an image.
        layout, seed, part: see `ShuffledBatches`.
    """

    def __init__(
        self,
        items: Sequence[SceneItem],
        view: ImageView,
        layout: BatchLayout,
        *,
        seed: int,
        **part: Unpack[Part],
    ) -> None:
        super().__init__(len(items), layout, seed=seed, **part)
        self.items = items
        self.view = view

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        return read_batch([self.items[order[i]] for i in positions], self.view, seed=self.seed, epoch=epoch)


def read_batch(items: Sequence[SceneItem], view: ImageView, *, seed: int = 0, epoch: int = 0) -> dict[str, Any]:
    """Reads a batch: "keys", "image" (n, 3, size, size) uint8 and "label" (n,) int64; or "error", a message."""
    try:
        images = [view(item.load(), sample_seed(seed, epoch, item.key)) for item in items]
    except RejectedPair as error:
        return {"error": f"{error}; it could be read when the run started"}
    return {
        "keys": [item.key for item in items],
        "image": torch.from_numpy(np.stack(images)),
        "label": torch.tensor([item.label for item in items]),
    }


class PassesOverImages(Passes[SceneItem]):
    """Passes over labelled images in order, with a fixed view."""

    def __init__(self, items: Sequence[SceneItem], view: ImageView, *, batch_size: int) -> None:
        super().__init__(items, batch_size=batch_size)
        self.view = view

    @override
    def make(self, items: Sequence[SceneItem]) -> dict[str, Any]:
        return read_batch(items, self.view)
