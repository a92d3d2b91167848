"""A pair as shown in the report: image, spectrogram, listening clip and credits."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from retrieval.pair_metadata import link_of, text_of
from shards.decoding.audio_decoding import PREVIEW_SECONDS
from shards.decoding.imagery import encode_jpeg
from shards.reporting.licence_names import licence_name
from shards.schema import SpectrogramSettings
from shards.streaming.reading import ShardSet, StoredSample

PICTURE_PIXELS = 176
QUERY_PICTURE_PIXELS = 288
SPECTROGRAM_SIZE = (264, 72)
"""Width and height in pixels."""
PICTURE_QUALITY = 80
MAX_CLIPS_BYTES = 6_500_000
"""Maximum total size of the clips in a report; 8.7 MB in base64."""

# A dark-to-light ramp with even steps in lightness, so that louder is brighter in greyscale too.
SPECTROGRAM_COLOURS = (
    (13, 12, 34),
    (53, 25, 94),
    (122, 35, 115),
    (193, 54, 96),
    (242, 107, 69),
    (252, 180, 95),
    (253, 248, 205),
)


@dataclass(frozen=True)
class Exhibit:
    """A pair as shown on the page; all its texts are untrusted.

    Attributes:
        key: the pair's key.
        title: its title, or its key.
        label: its class, "" without one or if the title begins with it.
        credit: creator, "" if unknown.
        licence: name of the licence, "" if unknown.
        licence_url: URL of the licence, "" if unknown.
        picture: data URI of the image.
        spectrogram: data URI of its spectrogram.
        clip: id of its `<audio>`, "" without one.
    """

    key: str
    title: str
    label: str
    credit: str
    licence: str
    licence_url: str
    picture: str
    spectrogram: str
    clip: str


@dataclass
class Exhibition:
    """Creates the exhibits of one page, with each image and clip only once.

    Attributes:
        shard_set: the shard set.
        split: its split.
        numbers: number of each pair in the split, by key.
        clips: id → data URI of the listening clips on the page.
        num_without_room: number of clips omitted to limit the size of the page.
    """

    shard_set: ShardSet
    split: str
    numbers: dict[str, int]
    clips: dict[str, str] = field(default_factory=dict)
    num_without_room: int = 0
    _clips_bytes: int = 0
    _made: dict[tuple[str, int], Exhibit] = field(default_factory=dict)
    _clip_of_key: dict[str, str] = field(default_factory=dict)

    def exhibit(self, key: str, metadata: dict[str, Any], pixels: int = PICTURE_PIXELS) -> Exhibit:
        """The exhibit of a pair, with an image `pixels` wide."""
        if (key, pixels) not in self._made:
            sample = self.shard_set.sample(self.split, self.numbers[key])
            settings = self.shard_set.manifest.spectrogram
            self._made[key, pixels] = exhibit_of(sample, metadata, settings, pixels, clip=self._clip(sample))
        return self._made[key, pixels]

    def _clip(self, sample: StoredSample) -> str:
        if sample.key not in self._clip_of_key:
            self._clip_of_key[sample.key] = ""
            sound = sample.preview()
            if sound is not None and self._clips_bytes + len(sound) > MAX_CLIPS_BYTES:
                self.num_without_room += 1
            elif sound is not None:
                self._clips_bytes += len(sound)
                self._clip_of_key[sample.key] = f"clip-{len(self.clips)}"
                self.clips[f"clip-{len(self.clips)}"] = data_uri("audio/mpeg", sound)
        return self._clip_of_key[sample.key]


def exhibit_of(
    sample: StoredSample, metadata: dict[str, Any], settings: SpectrogramSettings, pixels: int, *, clip: str
) -> Exhibit:
    """Creates the exhibit of a pair.

    Args:
        sample: the pair.
        metadata: its untrusted metadata.
        settings: settings of its spectrogram.
        pixels: side of the shown image.
        clip: id or data URI of its listening clip, "" without one.
    """
    licence = text_of(metadata, "licence")
    title, label = text_of(metadata, "title") or f"Pair {sample.key}", text_of(metadata, "label")
    return Exhibit(
        key=sample.key,
        title=title,
        label="" if title.casefold().startswith(label.casefold()) else label.replace("_", " "),
        credit=text_of(metadata, "creator"),
        licence=licence_name(licence),
        licence_url=link_of(licence),
        picture=data_uri("image/jpeg", picture(sample.image(), pixels)),
        spectrogram=data_uri("image/jpeg", spectrogram_picture(sample, settings)),
        clip=clip,
    )


def picture(image: NDArray[np.uint8], pixels: int) -> bytes:
    """The central square of an image, (height, width, 3) uint8, as a JPEG of `pixels` × `pixels`."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = image[top : top + side, left : left + side]
    interpolation = cv2.INTER_AREA if side >= pixels else cv2.INTER_CUBIC
    small = cv2.resize(square, (pixels, pixels), interpolation=interpolation)
    return encode_jpeg(np.asarray(small, dtype=np.uint8), PICTURE_QUALITY)


def spectrogram_picture(sample: StoredSample, settings: SpectrogramSettings) -> bytes:
    """The spectrogram of the ten-second listening clip (the whole one if its rate is unknown) as a JPEG in colour."""
    second = settings.frames_to_seconds(1)
    frames = sample.num_frames if second is None else min(sample.num_frames, round(PREVIEW_SECONDS / second))
    return encode_jpeg(colour_spectrogram(sample.frames((sample.num_frames - frames) // 2, frames)), PICTURE_QUALITY)


def colour_spectrogram(spectrogram: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(bands, frames) uint8 → (height, width, 3): low frequencies at the bottom, contrast stretched, loud is bright."""
    low, high = np.percentile(spectrogram, (2, 99.5))
    values = np.clip((spectrogram.astype(np.float32) - low) / max(high - low, 8), 0, 1)
    values = cv2.resize(values[::-1], SPECTROGRAM_SIZE, interpolation=cv2.INTER_AREA)
    stops = np.linspace(0, 1, len(SPECTROGRAM_COLOURS))
    channels = [np.interp(values, stops, channel) for channel in zip(*SPECTROGRAM_COLOURS, strict=True)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def data_uri(kind: str, data: bytes) -> str:
    """Encodes data as a data URI, so that the page needs no other files."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
