"""SoundingEarth as released: metadata.csv, images/<key>.jpg, and spectrograms/<key>.jpg instead of sounds.

The data set is Zenodo record 5600379 (Heidler et al., Self-supervised Audiovisual Representation Learning for Remote
Sensing Data, arXiv 2108.00688). In its 8-bit spectrograms, byte v encodes v · (HIGH − LOW) / 255 + LOW with
LOW = exp(−1.5) and HIGH = exp(0.5), the exponential of log-mel/10. The STFT settings were not published.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from shards.errors import RejectedPair, UserError
from shards.schema import MEL_BANDS, MIN_FRAMES, Pair, Sample, SpectrogramScale, SpectrogramSettings
from shards.sources.metadata_table import list_table, read_table, require_coordinates
from shards.sources.named_files import released_files
from shards.sources.source import Listing, Source

RELEASED_SPECTROGRAMS = SpectrogramSettings(
    sample_rate_hz=None,
    window_samples=None,
    hop_samples=None,
    mel_bands=MEL_BANDS,
    mel_scale=None,
    scale=SpectrogramScale("exp-log-mel/10", low=math.exp(-1.5), high=math.exp(0.5)),
)
"""What is known of the released spectrograms."""


class SoundingEarthSource(Source):
    """The released corpus; the bytes of its spectrograms are stored unchanged."""

    has_recordings = False

    @property
    @override
    def settings(self) -> SpectrogramSettings:
        """Those of the release."""
        return RELEASED_SPECTROGRAMS

    def list_pairs(self) -> Listing:
        """Lists metadata.csv; a row without an image or a spectrogram is rejected."""
        options = self.options
        for role in ("image", "sound"):
            if role in options.columns:
                raise UserError(
                    f"--column {role}={options.columns[role]} has no effect with --source soundingearth, whose files "
                    "are named by their keys; omit it"
                )
        table = read_table(options.root, options.limit, table=options.table, columns=options.columns)
        require_coordinates(table, "; give the metadata.csv of the release")
        links = options.follow_links
        images = released_files(options.root, "images", kind="image", follow_links=links)
        spectrograms = released_files(options.root, "spectrograms", kind="sound", follow_links=links)
        for files in (images, spectrograms):
            files.list_folder()

        listing = list_table(table, lambda key, _: images.of_key(key), lambda key, _: spectrograms.of_key(key))
        return dataclasses.replace(listing, notices=(*listing.notices, *images.notices(), *spectrograms.notices()))

    def read(self, pair: Pair) -> Sample:
        """Decodes image and spectrogram; the image is re-encoded, the spectrogram's bytes are kept."""
        from shards.decoding.imagery import encode_jpeg, load_image, stored_image
        from shards.decoding.spectrogram import repeat_to_length

        image = load_image(pair.image, self.options.rasters)
        stored = stored_image(image.rgb, max_whole_side=self.options.rasters.max_whole_side)
        released = read_grey_jpeg(pair.sound)
        spectrogram = repeat_to_length(released)
        metadata = {**pair.properties, "longitude": pair.longitude, "latitude": pair.latitude}
        seconds = _seconds(pair.columns.get("mp3seconds", ""))
        if seconds is not None:
            metadata["seconds"] = seconds
        return Sample(
            key=pair.key,
            image=encode_jpeg(stored, quality=self.options.jpeg_quality),
            spectrogram=spectrogram,
            metadata=metadata,
            used_seconds=seconds or 0.0,
            is_silent=int(released.min()) == int(released.max()),
            was_repeated=released.shape[1] < MIN_FRAMES,
        )


def read_grey_jpeg(path: Path) -> NDArray[np.uint8]:
    """Reads a released spectrogram, uint8 (128, T).

    Raises:
        RejectedPair: the file is not a JPEG, is truncated, or is not grey with 128 rows.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=("JPEG",)) as image:
            mode, size = image.mode, image.size
            pixels = np.asarray(image, dtype=np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise RejectedPair("unreadable spectrogram", f"{path.name}: {error}") from error
    if mode != "L" or size[1] != MEL_BANDS:
        raise RejectedPair(
            "unreadable spectrogram", f"{path.name} is {mode} with {size[1]} rows, not 8-bit grey with {MEL_BANDS}"
        )
    return pixels


def _seconds(text: str) -> float | None:
    """The duration stated in the table, None if missing or invalid."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
