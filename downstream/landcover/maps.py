"""Evaluation on whole tiles; several processes share the tiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from downstream.landcover.benchmark import Colour, Tile
from downstream.landcover.deeplab import DeepLab
from downstream.landcover.scores import accuracy, tile_confusion
from downstream.landcover.tiled_inference import predict_tile
from downstream.landcover.tiles import read_ahead
from pretrain import distributed
from pretrain.precision import autocast
from shards.progress import ProgressLine

PREVIEW_SIDE = 800
"""Longer side of the predicted map that is kept of each tile, in pixels."""


@dataclass(frozen=True)
class MappedTile:
    """A validation tile and its predicted map.

    Attributes:
        tile: which.
        confusion: (classes, classes), see `downstream.landcover.scores`.
        preview: the predicted labels, at most `PREVIEW_SIDE` pixels wide and high, as PNG.
    """

    tile: Tile
    confusion: NDArray[np.int64]
    preview: bytes

    @property
    def accuracy(self) -> float | None:
        """Share of its known pixels that are right."""
        return accuracy(self.confusion)


def map_tiles(
    module: DeepLab,
    tiles: list[Tile],
    classes: Mapping[str, Colour],
    *,
    window: int,
    device: torch.device,
    precision: str,
    threads: int,
) -> list[MappedTile]:
    """Maps tiles with a network in evaluation mode and compares them with their masks, on all processes together.

    Args:
        module: the network, on the device.
        tiles: to map; each is in memory only while it is worked on or read ahead.
        classes: the colour of each class.
        window: side of the windows in pixels, of which neighbours share a quarter; 0: whole tiles, as the authors did.
        device: of the network.
        precision: "bf16" or "fp32".
        threads: tiles read ahead.

    Raises:
        FloatingPointError: the network's scores are not finite.
        UserError: a tile can't be read.
    """
    own = tiles[distributed.rank() :: distributed.num_processes()]
    predict = partial(_probabilities, module, device=device, precision=precision)
    mapped: list[MappedTile] = []
    with (
        torch.inference_mode(),
        ProgressLine("mapping tiles", len(own), enabled=distributed.is_first()) as progress,
    ):
        for tile, image in read_ahead(own, classes, threads=threads):
            labels = predict_tile(predict, image.rgb, window=window, overlap=window // 4)
            mapped.append(MappedTile(tile, tile_confusion(image.labels, labels, len(classes)), _preview(labels)))
            progress.advance()
    parts = distributed.gather_objects(mapped)
    return [parts[number % len(parts)][number // len(parts)] for number in range(len(tiles))]


def _probabilities(module: DeepLab, images: Tensor, *, device: torch.device, precision: str) -> Tensor:
    with autocast(device, precision):
        logits = module({"image": images.to(device)})["logits"].float()
    if not logits.isfinite().all():
        raise FloatingPointError("class scores of the validation tiles are not finite")
    return logits.softmax(1)


def _preview(labels: NDArray[np.uint8]) -> bytes:
    shrink = min(1.0, PREVIEW_SIDE / max(labels.shape))
    size = (max(1, round(labels.shape[1] * shrink)), max(1, round(labels.shape[0] * shrink)))
    return cv2.imencode(".png", cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST))[1].tobytes()
