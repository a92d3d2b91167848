"""Prepares and embeds single images and sounds, preprocessed as in training."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pretrain.data.audio_transforms import spread_crops_of
from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.training.embedding import embed_images, embed_sounds
from retrieval.sources import ImageSource
from shards.decoding.imagery import (
    DEFAULT_RASTERS,
    MAX_PIXELS,
    MIN_SIDE_PIXELS,
    load_image,
    picture_rgb,
    stored_image,
)
from shards.errors import RejectedPair, UserError
from shards.raster_settings import RasterSettings


def image_of_file(
    path: Path,
    rasters: RasterSettings = DEFAULT_RASTERS,
    *,
    max_pixels: int = MAX_PIXELS,
    max_raster_bytes: int | None = None,
) -> NDArray[np.uint8]:
    """The part of an image file that a shard would store, (side, side, 3) uint8; `rasters` are those of the model.

    Raises:
        RejectedPair: as `shards.decoding.imagery.load_image`.
    """
    image = load_image(path, rasters, max_pixels=max_pixels, max_raster_bytes=max_raster_bytes)
    return stored_image(image.rgb, max_whole_side=rasters.max_whole_side)


def stored_part_of(source: ImageSource, rasters: RasterSettings = DEFAULT_RASTERS) -> NDArray[np.uint8]:
    """As `image_of_file`, also of a PIL image or of pixels (height, width, 3) in memory.

    Raises:
        RejectedPair: it can't be decoded, or is too small.
    """
    if isinstance(source, Path):
        return image_of_file(source, rasters)
    if isinstance(source, Image.Image):
        try:
            source = picture_rgb(source)
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
            raise RejectedPair("undecodable image", str(error)) from error
    height, width = source.shape[:2]
    if min(height, width) < MIN_SIDE_PIXELS:
        raise RejectedPair("image too small", f"{width} × {height} pixels, minimum {MIN_SIDE_PIXELS}")
    return stored_image(source, max_whole_side=rasters.max_whole_side)


@torch.inference_mode()
def embed_image(model: TwoTower, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embeds the evaluation view of an image from `image_of_file`: (side, side, 3) uint8 → (d,)."""
    return embed_images(model, evaluation_image(image, model.config.image_size)[None])[0]


@torch.inference_mode()
def embed_spectrogram(model: TwoTower, spectrogram: NDArray[np.uint8], crops: int) -> NDArray[np.float32]:
    """Averages the embeddings of up to `crops` evenly spaced crops: (mel bands, frames) uint8 → (d,).

    The spectrogram is of the model's own scale, whatever shards the model is used on.
    """
    parts = torch.from_numpy(spread_crops_of(spectrogram, model.config.num_frames, crops))
    return embed_sounds(model, model.standardise(parts).numpy(), [len(parts)])[0]


def check_hears_files(model: TwoTower, weights: Path) -> None:
    """Checks that the model's spectrograms can be computed from sound files.

    Raises:
        UserError: the settings of the model's spectrograms are not published.
    """
    if not model.config.spectrogram.is_published:
        raise UserError(
            f"the model in {weights} was trained on spectrograms whose settings are not published, so none can be "
            "computed from sounds; use a model that was trained on --source recordings, or, for embed, --force "
            "(earshot.load(..., force=True))"
        )
