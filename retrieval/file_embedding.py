"""Embeds single image and sound files, preprocessed as in training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.data.audio_transforms import spread_crops_of
from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.training.embedding import embed_images, embed_sounds
from shards.decoding.imagery import DEFAULT_RASTERS, MAX_PIXELS, load_image, stored_image
from shards.errors import UserError
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
            "computed from sounds; use a model that was trained on --source recordings, or, for embed, --force"
        )
