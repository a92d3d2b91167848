"""The format of a pair: its key, its members in a tar and their units, and the format version."""

from __future__ import annotations

import dataclasses
import re
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shards.records import Finite, as_number

FORMAT_VERSION = 2
"""Version of the shard set's layout and of `manifest.json`: 2 has binary indexes, stated in the manifest."""
READABLE_VERSIONS = (1, FORMAT_VERSION)
"""Readers reject any other."""

SPLITS = ("train", "val", "test")
SplitName = Annotated[str, Field(pattern=f"^({'|'.join(SPLITS)})$")]
TRAIN_SPLIT, VALIDATION_SPLIT, _ = SPLITS

IMAGE_MEMBER = "jpg"
SPECTROGRAM_MEMBER = "spectrogram.npy"
METADATA_MEMBER = "json"
PREVIEW_MEMBER = "mp3"
PREVIEWS_FOLDER = "previews"

MAX_KEY_CHARACTERS = tarfile.LENGTH_NAME - len("." + SPECTROGRAM_MEMBER)
"""USTAR headers limit names to 100 characters."""

MEL_BANDS = 128
"""Of all front ends but `clap-48k`."""
MIN_FRAMES = 128
"""Minimum length of a stored spectrogram in frames; shorter recordings are repeated to this length."""

KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]+")
Key = Annotated[str, Field(pattern=f"^{KEY_PATTERN.pattern}$")]
"""Of a sample, as `is_valid_key` approves of it."""


def is_valid_key(key: str) -> bool:
    """Whether `key` can name a sample (WebDataset cuts a member's name at its first dot)."""
    return KEY_PATTERN.fullmatch(key) is not None


@dataclass(frozen=True)
class SpectrogramScale:
    """How stored bytes map to values: value = low + byte · (high − low) / 255.

    Attributes:
        name: the quantity: "log-mel" (natural logarithm of the mel power, full scale = 1) or
            "exp-log-mel/10" (SoundingEarth's release).
        low: value of byte 0.
        high: value of byte 255.
    """

    name: str
    low: Finite
    high: Finite


LOG_MEL_SCALE = SpectrogramScale("log-mel", low=-28.0, high=0.0)


MOST_SAMPLE_RATE_HZ = 1_000_000
WindowSamples = Annotated[int, Field(ge=1, le=2**20)]


@dataclass(frozen=True)
class SpectrogramSettings:
    """How spectrograms were computed; a model works only with the settings it was trained on.

    The defaults are the front end `earshot-16k`; `shards.front_ends` has the others by name.

    Attributes:
        sample_rate_hz, window_samples, hop_samples, mel_scale: None if not published, as for the spectrograms of
            SoundingEarth's release.
        mel_bands: number of bands.
        scale: what the stored bytes mean.
        fft_samples: length of the Fourier transform; None: that of the window.
        window: "hann-normalised" (periodic, divided by its sum), "hann-periodic" or "hann-symmetric".
        pre_emphasis: p of the filter y[t] = x[t + 1] - p x[t].
        pre_emphasis_of: "waveform", or "frame": each frame without its mean is filtered, as in Kaldi.
        mel_norm: "peak" (filters have peak 1) or "area" (area 1 in Hz).
        low_hz, high_hz: lower edge of the first band and upper edge of the last; None: half the sampling rate.
        is_centred: whether frame t is centred on sample t * hop of the waveform, reflected at its ends.
        added_power: added to the power of each band before the logarithm.
        smallest_power: lower bound on that sum; 0: none.
    """

    sample_rate_hz: Annotated[int, Field(ge=1, le=MOST_SAMPLE_RATE_HZ)] | None = 16_000
    window_samples: WindowSamples | None = 1024
    hop_samples: WindowSamples | None = 400
    mel_bands: Annotated[int, Field(ge=1, le=1024)] = MEL_BANDS
    mel_scale: Literal["slaney", "kaldi"] | None = "slaney"
    scale: SpectrogramScale = LOG_MEL_SCALE
    fft_samples: WindowSamples | None = None
    window: Literal["hann-normalised", "hann-periodic", "hann-symmetric"] = "hann-normalised"
    pre_emphasis: Annotated[float, Field(ge=0, le=1)] = 0.0
    low_hz: Annotated[float, Field(ge=0, le=MOST_SAMPLE_RATE_HZ)] = 0.0
    high_hz: Annotated[float, Field(gt=0, le=MOST_SAMPLE_RATE_HZ)] | None = None
    is_centred: bool = False
    added_power: Annotated[float, Field(ge=0, le=1)] = 0.0
    pre_emphasis_of: Literal["waveform", "frame"] = "waveform"
    mel_norm: Literal["peak", "area"] = "peak"
    smallest_power: Annotated[float, Field(ge=0, le=1)] = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The settings for a manifest or a model's config.

        Settings that came after format version 1 are omitted at their defaults, so that older versions can read sets
        that don't use them.
        """
        later = {
            *("fft_samples", "window", "pre_emphasis", "low_hz", "high_hz", "is_centred", "added_power"),
            *("pre_emphasis_of", "mel_norm", "smallest_power"),
        }
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in later or value != defaults[name]}

    @property
    def top_hz(self) -> float | None:
        """Upper edge of the last band; None if not published."""
        return self.high_hz or (self.sample_rate_hz and self.sample_rate_hz / 2)

    @property
    def is_published(self) -> bool:
        """Whether such spectrograms can be computed from sounds."""
        return None not in (self.sample_rate_hz, self.window_samples, self.hop_samples, self.mel_scale)

    def frames_to_seconds(self, frames: int) -> float | None:
        """Duration of `frames` consecutive frames in seconds, or None if the hop is unknown."""
        if self.sample_rate_hz is None or self.hop_samples is None:
            return None
        return frames * self.hop_samples / self.sample_rate_hz


@dataclass(frozen=True)
class Pair:
    """A pair as listed by a source, before its files are opened.

    Attributes:
        key: name of the sample; matches `KEY_PATTERN`.
        image: path of the overhead image.
        sound: path of the recording, or of the spectrogram if the source ships only those.
        longitude: degrees east, [-180, 180]; None if it must be read from the image.
        latitude: degrees north, [-90, 90]; None if it must be read from the image.
        properties: title, creator, licence, label … as stored in the sample's JSON.
        columns: the row of the source's table, for splitting by a column.
        place: the row's place in that table, counted from 1; 0 if there is none.
    """

    key: str
    image: Path
    sound: Path
    longitude: float | None
    latitude: float | None
    properties: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    place: int = 0


def place_of(metadata: dict[str, Any]) -> tuple[float, float] | None:
    """Longitude and latitude of a pair's metadata in degrees; None if missing or out of range."""
    longitude, latitude = as_number(metadata.get("longitude")), as_number(metadata.get("latitude"))
    if longitude is None or latitude is None or abs(longitude) > 180 or abs(latitude) > 90:
        return None
    return longitude, latitude


@dataclass(frozen=True)
class Rejection:
    """A pair that is not in the shards, and why."""

    key: str
    reason: str
    detail: str


@dataclass(frozen=True)
class SoundCounts:
    """What was found about a recording when it was decoded.

    Attributes:
        decoder: library and codec.
        channels: which channels were used: "mono", "mean of 2", "1 of 4", "2 of 2, opposite phase".
        num_samples: number of samples of all channels.
        num_clipped: those at full scale or beyond.
        silent_share: share of the recording in silent stretches of 2^14 samples, [0, 1].
        is_opposite_phase: two channels would have cancelled each other; one of them was used.
        is_one_of_many: one of four or more channels was used.
        is_integer_scale: floating-point samples on the scale of integers were divided to a full scale of ±1.
    """

    decoder: str
    channels: str
    num_samples: int
    num_clipped: int
    silent_share: float
    is_opposite_phase: bool = False
    is_one_of_many: bool = False
    is_integer_scale: bool = False

    @property
    def clipped_share(self) -> float:
        """Share of clipped samples, [0, 1]."""
        return self.num_clipped / max(1, self.num_samples)


@dataclass(frozen=True)
class Sample:
    """A pair as written to a shard, with what the build's statistics need.

    Attributes:
        key: the sample's key.
        image: contents of a JPEG file.
        spectrogram: uint8 (mel bands, T), T >= 128.
        metadata: longitude, latitude, seconds, title …; plain JSON values.
        preview: contents of an MP3 file, None if the source has no recordings.
        used_seconds: duration of the spectrogram in seconds, 0 if unknown.
        is_silent: the recording is silent.
        was_repeated: the recording was shorter than 128 frames and was repeated to that length.
        was_shortened: only parts of the recording were used.
        sound: what was found about the recording, None if the source has none.
    """

    key: str
    image: bytes
    spectrogram: NDArray[np.uint8]
    metadata: dict[str, Any]
    preview: bytes | None = None
    used_seconds: float = 0.0
    is_silent: bool = False
    was_repeated: bool = False
    was_shortened: bool = False
    sound: SoundCounts | None = None
