"""Queries: a pair of the set, or a visitor's own image or sound, with its embedding and its exhibit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pretrain.model import TwoTower
from retrieval.exhibits import PICTURE_QUALITY, Exhibit, colour_spectrogram, data_uri, exhibit_of, picture
from retrieval.explore.atlas import Atlas, Modality
from retrieval.file_embedding import check_hears_files, embed_image, embed_spectrogram, image_of_file
from retrieval.pair_metadata import readable_metadata
from shards.decoding.audio_decoding import decode_recording, encode_preview
from shards.decoding.imagery import encode_jpeg
from shards.errors import RejectedPair, UserError, failures_as_rejections
from shards.streaming.reading import StoredSample

OTHER: dict[Modality, Modality] = {"image": "sound", "sound": "image"}
PICTURE_PIXELS = 288
MOST_KEPT_PIXELS = 1024
"""Longer side of an image that is kept while its visitor is on the page."""
MAX_UPLOAD_PIXELS = 2**25
"""33.5 million, enough for a photograph by a 24-megapixel camera."""
MAX_UPLOAD_RASTER_BYTES = 200_000_000
"""Limit on the uncompressed size of a TIFF with all its bands; a few kilobytes can hold gigabytes."""
MAX_UPLOAD_SECONDS = 600.0
"""From a longer recording, evenly spread parts of this total duration are used."""
MAX_NAME = 80
FORMATS = {
    "image": f"a JPEG, PNG or TIFF of at most {MAX_UPLOAD_PIXELS / 1e6:.0f} million pixels",
    "sound": "an MP3, OGG, FLAC or WAV file of a second or more",
}


@dataclass(frozen=True)
class Question:
    """A query.

    Attributes:
        modality: "image" or "sound"; the results are of the other one.
        embedding: (d,) float32.
        exhibit: what the page shows of it.
        image: for an image query, the image, (side, side, 3) uint8; None for a sound.
        number: number of the pair in the atlas; None for a visitor's own file, and for a mix.
        mix: weights of a query that is mixed from an image and a sound, in words; empty for others.
    """

    modality: Modality
    embedding: NDArray[np.float32]
    exhibit: Exhibit
    image: NDArray[np.uint8] | None
    number: int | None
    mix: str = ""

    @property
    def gallery(self) -> Modality:
        """What is searched: the other modality."""
        return OTHER[self.modality]

    def kept(self) -> Question:
        """The query as it is kept between two requests, without the pixels of a large image."""
        if self.image is None or max(self.image.shape) <= MOST_KEPT_PIXELS:
            return self
        scale = MOST_KEPT_PIXELS / max(self.image.shape)
        size = [max(1, round(scale * length)) for length in self.image.shape[1::-1]]
        return replace(self, image=np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), np.uint8))


class Questioner:
    """Creates queries for one model and atlas.

    Shared by threads; hold `lock` while running the model or reading a shard.

    Args:
        model: the towers, in evaluation mode.
        weights: their source, for messages.
        atlas: the embedded pairs.
        crops: sound crops whose embeddings are averaged.
    """

    def __init__(self, model: TwoTower, weights: Path, atlas: Atlas, crops: int) -> None:
        self.model = model
        self.weights = weights
        self.atlas = atlas
        self.crops = crops
        self.lock = threading.RLock()

    @property
    def hears_files(self) -> bool:
        """Whether sound files can be used as queries."""
        return self.model.config.spectrogram.sample_rate_hz is not None

    def of_pair(self, number: int, modality: Modality) -> Question:
        """A query with the image or sound of a pair, by its number in the atlas."""
        embedding = np.array(self.atlas.embeddings(modality)[number])
        with self.lock:
            sample = self.atlas.sample(number)
            image = sample.image() if modality == "image" else None
            return Question(modality, embedding, self.exhibit(sample), image, number)

    def number_of(self, key: str) -> int:
        """The number in the atlas of the pair with this key.

        Raises:
            UserError: there is no such pair.
        """
        with self.lock:
            for number in range(len(self.atlas)):
                if self.atlas.sample(number).key == key:
                    return number
        raise UserError(f"no pair here has the key {key[:MAX_NAME]!r}; keys are the file names of the set's images")

    def of_image_file(self, path: Path) -> Question:
        """A query with a visitor's own image.

        Raises:
            UserError: the image is too large or can't be decoded.
        """
        with _sentences("image"):
            image = image_of_file(
                path,
                self.model.config.rasters,
                max_pixels=MAX_UPLOAD_PIXELS,
                max_raster_bytes=MAX_UPLOAD_RASTER_BYTES,
            )
        exhibit = _own(path, "Your image", picture=data_uri("image/jpeg", picture(image, PICTURE_PIXELS)))
        with self.lock:
            embedding = embed_image(self.model, image)
        return Question("image", embedding, exhibit, image, None)

    def of_sound_file(self, path: Path) -> Question:
        """A query with a visitor's own sound.

        Raises:
            UserError: the file can't be decoded, or the model does not support sound files.
        """
        check_hears_files(self.model, self.weights)
        settings = self.model.config.spectrogram
        with _sentences("sound"):
            sound = decode_recording(path, settings, max_seconds=MAX_UPLOAD_SECONDS)
            assert sound.preview is not None
            assert settings.sample_rate_hz is not None
            clip = encode_preview(sound.preview, settings.sample_rate_hz)
        exhibit = _own(
            path,
            "Your sound",
            spectrogram=data_uri("image/jpeg", encode_jpeg(colour_spectrogram(sound.spectrogram), PICTURE_QUALITY)),
            clip=data_uri("audio/mpeg", clip),
        )
        with self.lock:
            embedding = embed_spectrogram(self.model, sound.spectrogram, self.crops)
        return Question("sound", embedding, exhibit, None, None)

    def exhibit(self, sample: StoredSample) -> Exhibit:
        """The exhibit of a pair, with its image and listening clip embedded."""
        clip = sample.preview()
        return exhibit_of(
            sample,
            readable_metadata(sample) or {},
            self.atlas.shard_set.manifest.spectrogram,
            PICTURE_PIXELS,
            clip="" if clip is None else data_uri("audio/mpeg", clip),
        )


@contextmanager
def _sentences(kind: str) -> Iterator[None]:
    """Turns any failure to decode a visitor's file into a message.

    Raises:
        UserError: instead of the rejection.
    """
    try:
        with failures_as_rejections():
            yield
    except RejectedPair as rejection:
        remedy = FORMATS[kind]
        raise UserError(f"the {kind} can't be used: {rejection}; give {remedy}") from rejection


def _own(path: Path, title: str, *, picture: str = "", spectrogram: str = "", clip: str = "") -> Exhibit:
    return Exhibit(
        key="",
        title=title,
        label=path.name[:MAX_NAME],
        credit="",
        licence="",
        licence_url="",
        picture=picture,
        spectrogram=spectrogram,
        clip=clip,
    )
