"""Entries of a training batch, made from stored pairs as a method needs them."""

from __future__ import annotations

import abc
import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from pretrain.data.audio_transforms import random_crop_start
from pretrain.data.image_transforms import ImageView, RandomImageView
from pretrain.data.seeds import derived_seed
from pretrain.data.sound_view import RandomSoundView
from pretrain.settings.pretraining import DataSettings
from shards.schema import SpectrogramSettings
from shards.streaming.reading import StoredSample

Row = Mapping[str, NDArray[Any]]
"""One pair's row of each entry of a batch."""


class Views(abc.ABC):
    """Makes the entries of a batch, one pair at a time; copied to the loader's processes."""

    @property
    @abc.abstractmethod
    def entries(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        """Shape and type of each entry of a batch, for one pair."""

    @abc.abstractmethod
    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        """Writes one pair's views into its row of every entry; `seed` fixes all that is random.

        Raises:
            UserError: the pair can't be read.
        """


class ImageAndSound(Views):
    """A view of the image and a crop of the sound: "image" (3, s, s) and "sound" (1, mel bands, t), uint8.

    Args:
        settings: size of the image and its augmentation, and t.
        spectrogram: of the shard set.
    """

    def __init__(self, settings: DataSettings, spectrogram: SpectrogramSettings) -> None:
        self._settings = settings
        self._mel_bands = spectrogram.mel_bands
        self._num_frames = settings.frames_of_crop(spectrogram)
        self._image_view = RandomImageView(settings)
        self._sound_view = RandomSoundView(settings, spectrogram)

    @property
    @override
    def entries(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        size, frames = self._settings.image_size, self._num_frames
        return {"image": ((3, size, size), torch.uint8), "sound": ((1, self._mel_bands, frames), torch.uint8)}

    @override
    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        self._image_view.of_sample(sample, seed, row["image"])
        num_frames = self._num_frames
        frames = sample.frames(random_crop_start(sample.num_frames, num_frames, seed), num_frames)
        row["sound"][0] = self._sound_view(frames, seed)


class TwoImageViews(Views):
    """Two independent views of the same image: "image" and "other_image", (3, s, s) uint8."""

    def __init__(self, view: ImageView, image_size: int) -> None:
        self._view = view
        self._image_size = image_size

    @property
    @override
    def entries(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        view = ((3, self._image_size, self._image_size), torch.uint8)
        return {"image": view, "other_image": view}

    @override
    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        self._view.of_sample(sample, seed, row["image"])
        self._view.of_sample(sample, derived_seed(seed, "other view"), row["other_image"])


class WithEntry(Views, abc.ABC):
    """Adds an entry to other views, which says something about the pair and is the same in all its views.

    Attributes:
        name: of the entry.
        shape, dtype: of its value for one pair.
    """

    name: ClassVar[str]
    shape: ClassVar[tuple[int, ...]] = ()
    dtype: ClassVar[torch.dtype] = torch.int64

    def __init__(self, views: Views) -> None:
        self._views = views

    @abc.abstractmethod
    def value(self, sample: StoredSample) -> int | NDArray[np.float32]:
        """The entry of a pair."""

    @property
    @override
    def entries(self) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        return {**self._views.entries, self.name: (self.shape, self.dtype)}

    @override
    def write(self, sample: StoredSample, seed: int, row: Row) -> None:
        self._views.write(sample, seed, row)
        row[self.name][...] = self.value(sample)


class WithIdentity(WithEntry):
    """Adds "identity", a number that identifies the pair's key, () int64."""

    name = "identity"

    @override
    def value(self, sample: StoredSample) -> int:
        return number_of(sample.key)


class WithPlace(WithEntry):
    """Adds "place", where the pair was recorded as a point on the unit sphere, (3,) float32.

    A pair without coordinates has NaN there.
    """

    name = "place"
    shape = (3,)
    dtype = torch.float32

    @override
    def value(self, sample: StoredSample) -> NDArray[np.float32]:
        metadata = sample.metadata()
        return point_on_sphere(metadata.get("longitude"), metadata.get("latitude"))


class WithImageGroup(WithEntry):
    """Adds "image_group", a number that is equal for equal stored images, () int64."""

    name = "image_group"

    @override
    def value(self, sample: StoredSample) -> int:
        return number_of(hashlib.blake2b(sample.image_bytes()).hexdigest())


class WithPlaceGroup(WithEntry):
    """Adds "place_group", a number that is equal for equal places, () int64.

    Places are equal if their coordinates are, rounded to `PLACE_DECIMALS`. A pair without coordinates shares none.
    """

    name = "place_group"

    @override
    def value(self, sample: StoredSample) -> int:
        metadata = sample.metadata()
        place = metadata.get("longitude"), metadata.get("latitude")
        # Adding 0 turns -0.0 into 0.0.
        known = [round(degrees, PLACE_DECIMALS) + 0.0 for degrees in place if degrees is not None]
        return number_of(str(known) if len(known) == len(place) else sample.key)


PLACE_DECIMALS = 4
"""Of degrees: 11 m from north to south."""

ADDITIONS: dict[str, type[WithEntry]] = {
    kind.name: kind for kind in (WithIdentity, WithPlace, WithImageGroup, WithPlaceGroup)
}
"""Views that add an entry, by its name."""


def number_of(text: str) -> int:
    """A number that identifies a text, of 63 bits: two of a million share one with a chance of 1 in ten million."""
    return derived_seed(0, text) >> 1


def point_on_sphere(longitude: float | None, latitude: float | None) -> NDArray[np.float32]:
    """Degrees east and north → a point of the unit sphere, (3,) float32; NaN where one is None.

    Two points a chord c apart are 2·asin(c/2) radians apart on the ground; float32 keeps that to about a metre.
    """
    if longitude is None or latitude is None:
        return np.full(3, np.nan, np.float32)
    east, north = np.radians(longitude), np.radians(latitude)
    point = (np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north))
    return np.asarray(point, dtype=np.float32)
