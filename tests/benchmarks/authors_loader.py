"""The rival of the loader: pairs read in the way that SoundingEarth's authors describe theirs, in our own words.

An image is a 1024 × 1024 JPEG, decoded by Pillow as a whole; a spectrogram is one grey JPEG of the whole recording,
decoded as a whole; then the central half of the image, the same augmentations by albumentations as ours, and 128
random frames (arXiv 2108.00688, section IV-A). It is a plain PyTorch data set under PyTorch's own loader.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A
import cv2

from pretrain.settings.pretraining import DataSettings

CENTRAL_PIXELS = 512
CROP_PIXELS = (192, 384)
NUM_FRAMES = 128


def augmentations(settings: DataSettings) -> A.Compose:
    """The central half, and what ours draws from the same distributions."""
    return A.Compose(
        [
            A.CenterCrop(CENTRAL_PIXELS, CENTRAL_PIXELS),
            A.RandomSizedCrop(CROP_PIXELS, (settings.image_size,) * 2),
            A.Rotate(settings.rotation_degrees, border_mode=cv2.BORDER_REFLECT_101, p=1.0),
            A.GaussianBlur(blur_limit=(3, 5), p=settings.blur_probability),
            A.HueSaturationValue(settings.hue_degrees / 2, 255 * settings.saturation, 255 * settings.value, p=1.0),
        ]
    )


def decode_image(file: Path | BytesIO) -> NDArray[np.uint8]:
    """(height, width, 3) uint8."""
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def decode_spectrogram(file: Path | BytesIO) -> NDArray[np.uint8]:
    """(128, frames) uint8."""
    with Image.open(file) as picture:
        return np.asarray(picture)


class PairFiles(Dataset[dict[str, Tensor]]):
    """Pairs of files in a folder with images/<key>.jpg and spectrograms/<key>.jpg."""

    def __init__(self, root: Path, keys: list[str], settings: DataSettings) -> None:
        self.root = root
        self.keys = keys
        self.transform = augmentations(settings)
        self.generator = np.random.default_rng()

    def __len__(self) -> int:
        return len(self.keys)

    def paths(self, key: str) -> tuple[Path, Path]:
        return self.root / "images" / f"{key}.jpg", self.root / "spectrograms" / f"{key}.jpg"

    def view(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(self.transform(image=image)["image"].transpose(2, 0, 1))

    def frames(self, spectrogram: NDArray[np.uint8]) -> NDArray[np.uint8]:
        start = int(self.generator.integers(0, spectrogram.shape[1] - NUM_FRAMES + 1))
        return np.ascontiguousarray(spectrogram[None, :, start : start + NUM_FRAMES])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        image_path, sound_path = self.paths(self.keys[index])
        image, sound = self.view(decode_image(image_path)), self.frames(decode_spectrogram(sound_path))
        return {"image": torch.from_numpy(image), "sound": torch.from_numpy(sound)}


class EndlessOrder(Sampler[int]):
    """A new random order of all pairs, again and again."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(self.size).tolist()


def authors_batches(pairs: PairFiles, batch_size: int, workers: int) -> Iterator[dict[str, Tensor]]:
    """Batches without end."""
    return iter(
        DataLoader(
            pairs,
            batch_size=batch_size,
            sampler=EndlessOrder(len(pairs)),
            num_workers=workers,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=one_thread if workers else None,
        )
    )


def one_thread(_worker: int = 0) -> None:
    """OpenCV and torch on one thread, as in our workers."""
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
