"""Inference over items in order, shared by several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from downstream.running.images import ImageView, PassesOverImages
from downstream.running.items import SceneItem
from downstream.running.passes import OwnShare
from pretrain import distributed
from pretrain.data.batches import to_device
from pretrain.precision import autocast
from shards.progress import ProgressLine


class ImageReader(OwnShare[SceneItem]):
    """This process's share of labelled images.

    Args:
        items: the items of all processes.
        view: preprocessing of an image.
        batch_size: images per batch.
        workers: loader processes of this process.
    """

    def __init__(self, items: Sequence[SceneItem], view: ImageView, *, batch_size: int, workers: int) -> None:
        super().__init__(items, lambda own: PassesOverImages(own, view, batch_size=batch_size), workers=workers)


def outputs_in_order(
    compute: Callable[[Mapping[str, Tensor]], Tensor],
    reader: OwnShare[Any],
    *,
    width: int,
    device: torch.device,
    precision: str,
    title: str | None = None,
) -> NDArray[np.float32]:
    """Applies `compute` to all items; all processes call it together, and each gets all outputs.

    Args:
        compute: from a batch on the device to (n, width).
        reader: of the items.
        width: numbers an item.
        device: where `compute` works.
        precision: of the networks, "bf16" or "fp32".
        title: of a progress line; None shows none.

    Returns:
        (items, width), row i of item i.
    """
    parts = [np.empty((0, width), dtype=np.float32)]
    enabled = title is not None and distributed.is_first()
    with torch.inference_mode(), ProgressLine(title or "", reader.num_own, enabled=enabled) as progress:
        for batch in reader.one_pass():
            with autocast(device, precision):
                outputs = compute(to_device(batch, device))
            parts.append(outputs.float().cpu().numpy())
            progress.advance(len(parts[-1]))
    gathered = distributed.gather_objects(np.concatenate(parts))
    whole = np.empty((reader.num_items, width), dtype=np.float32)
    for rank, part in enumerate(gathered):
        whole[rank :: len(gathered)] = part
    return whole
