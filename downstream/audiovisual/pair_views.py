"""What of a pair's image and sound the towers are shown: central part and crops, or all of both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from downstream.audiovisual.benchmark import ScenePair
from pretrain.data.audio_transforms import spread_crops_of
from pretrain.data.image_transforms import evaluation_image
from shards.decoding.audio_decoding import decode_recording
from shards.decoding.imagery import stored_image
from shards.decoding.spectrogram import repeat_to_length
from shards.schema import SpectrogramSettings

SOUND_CROPS = 5
"""Number of evenly spaced crops of a sound whose embeddings are averaged; for 10 s, neighbours overlap by half."""


class PairView(Protocol):
    """Preprocessing of a pair.

    Attributes:
        words: what is seen and heard, for results.
    """

    words: ClassVar[str]

    @property
    def image_size(self) -> int:
        """Side of the image tower's input in pixels."""
        ...

    @property
    def spectrogram(self) -> SpectrogramSettings:
        """Settings of the spectrogram."""
        ...

    def image(self, pair: ScenePair) -> NDArray[np.uint8]:
        """The image of a pair → (3, image_size, image_size) uint8.

        Raises:
            RejectedPair: it can't be decoded.
        """
        ...

    def sound(self, path: Path) -> NDArray[np.uint8]:
        """A sound file → (crops, 1, mel bands, frames) uint8; the number of frames may differ from sound to sound.

        Raises:
            RejectedPair: the sound can't be decoded.
        """
        ...


@dataclass(frozen=True)
class CentralView:
    """As in validation of the towers: the central 3/4 of the image, and evenly spaced crops of the sound.

    Attributes:
        image_size: side of the input in pixels.
        spectrogram: settings of the spectrogram.
        num_frames: number of frames in a crop.
    """

    words: ClassVar[str] = f"central 3/4 of the image, {SOUND_CROPS} crops of the sound"
    image_size: int
    spectrogram: SpectrogramSettings
    num_frames: int

    def image(self, pair: ScenePair) -> NDArray[np.uint8]:
        """The central part of what a shard would store of the image."""
        whole = pair.image_item.load()
        return evaluation_image(stored_image(whole, max_whole_side=pair.rasters.max_whole_side), self.image_size)

    def sound(self, path: Path) -> NDArray[np.uint8]:
        """Up to `SOUND_CROPS` crops of `num_frames` frames."""
        return spread_crops_of(_spectrogram(path, self.spectrogram, self.num_frames), self.num_frames, SOUND_CROPS)


@dataclass(frozen=True)
class WholeView:
    """As by SoundingEarth's authors on ADVANCE: the whole image, its pixels averaged, and the whole spectrogram.

    They average squares of 2 × 2 pixels, 512 → 256, after normalisation; here pixels are averaged before, and rounded.

    Attributes:
        image_size: side of the input in pixels.
        spectrogram: settings of the spectrogram.
        num_frames: least number of frames; shorter sounds are repeated, as in training.
    """

    words: ClassVar[str] = "whole image, whole sound"
    image_size: int
    spectrogram: SpectrogramSettings
    num_frames: int

    def image(self, pair: ScenePair) -> NDArray[np.uint8]:
        """All of the image."""
        whole = pair.image_item.load()
        interpolation = cv2.INTER_AREA if min(whole.shape[:2]) >= self.image_size else cv2.INTER_LINEAR
        resized = cv2.resize(whole, (self.image_size, self.image_size), interpolation=interpolation)
        return np.ascontiguousarray(resized.transpose(2, 0, 1))

    def sound(self, path: Path) -> NDArray[np.uint8]:
        """All frames, as one crop."""
        return _spectrogram(path, self.spectrogram, self.num_frames)[None, None]


def _spectrogram(path: Path, settings: SpectrogramSettings, num_frames: int) -> NDArray[np.uint8]:
    return repeat_to_length(decode_recording(path, settings, with_preview=False).spectrogram, num_frames)
