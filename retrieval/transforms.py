"""What turns an image or a sound into the tensor that a tower takes, exactly as in training's evaluation; picklable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from retrieval.file_inputs import ImageInput, Inputs, SoundInput
from retrieval.sources import IMAGES_TAKEN, SOUNDS_TAKEN, image_sources, names_of, sound_sources
from shards.errors import RejectedPair, UserError


@dataclass(frozen=True)
class ImageTransform:
    """An image → its evaluation view, (3, size, size) uint8, for `TwoTower.encode_image`.

    Attributes:
        read: rasters' bands and scale, and the side in pixels.
    """

    read: ImageInput

    def __call__(self, image: Any) -> Tensor:
        """The view of a path, a PIL image, an array (height, width, 3) or a tensor (3, height, width), both uint8.

        Raises:
            TypeError: it is of another type.
            UserError: it can't be decoded.
        """
        return _transformed(image_sources(image), self.read, "images", IMAGES_TAKEN)[0]


@dataclass(frozen=True)
class SoundTransform:
    """A sound → evenly spaced crops of its spectrogram, (k, 1, mel bands, frames) uint8, for `TwoTower.encode_sound`.

    The embedding of the sound is the mean of those of its crops; k is at most `read.crops`, and 1 for a short sound.

    Attributes:
        read: the spectrogram's settings, frames and number of crops, and the maximum duration.
    """

    read: SoundInput

    def __call__(self, sound: Any, sample_rate_hz: int | None = None) -> Tensor:
        """The crops of a path or a waveform; see `retrieval.sources.sound_sources`.

        Raises:
            TypeError: it is of another type, or a waveform has no rate.
            UserError: it can't be decoded.
        """
        return _transformed(sound_sources(sound, sample_rate_hz), self.read, "sounds", SOUNDS_TAKEN)


def _transformed(sources: list[Any], read: Any, kind: str, taken: str) -> Tensor:
    if len(sources) != 1:
        raise TypeError(f"a transform takes one of {kind}, got {len(sources)}; it can be {taken.partition(';')[0]}")
    try:
        inputs: Inputs = read(sources[0])
    except RejectedPair as rejection:
        [name] = names_of(sources, kind)
        raise UserError(
            f"{name} can't be decoded: {rejection.reason} ({rejection.detail}); give another"
        ) from rejection
    except OSError as error:
        raise UserError(f"{sources[0]} can't be read: {error.strerror or error}; give another") from error
    return torch.from_numpy(inputs)
