"""Decodes sound files to stored spectrograms and listening clips, in blocks and so in constant memory."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from shards.decoding.sound_files import CHUNK_SAMPLES, mono_blocks, opened
from shards.decoding.spectrogram import repeat_to_length
from shards.errors import RejectedPair
from shards.schema import MIN_FRAMES, SpectrogramSettings

MAX_PARTS = 20
MIN_PART_SECONDS = 10.0
"""From a recording that is too long, at most `MAX_PARTS` parts are used, none much shorter than `MIN_PART_SECONDS`."""

SILENCE_PEAK = 1e-4
"""A recording is silent if no sample reaches this fraction of full scale (−80 dBFS, three 16-bit steps)."""

PREVIEW_SECONDS = 10.0

PREVIEW_COMPRESSION = 0.5
"""libsndfile's scale from 0 (largest) to 1; here about 28 kbit/s for 16 kHz mono."""


@dataclass(frozen=True, eq=False)
class DecodedRecording:
    """A decoded sound file.

    Attributes:
        spectrogram: uint8 of shape (mel bands, frames), frames ≥ `MIN_FRAMES`, Fortran order.
        seconds: duration of the whole recording.
        used_seconds: duration of the sound from which the spectrogram was computed.
        is_silent: whether no sample reaches `SILENCE_PEAK`.
        was_shortened: whether it was longer than `max_seconds`, so that only evenly spread parts were used.
        was_repeated: whether it was shorter than `MIN_FRAMES` and was repeated to that length.
        sample_rate_hz: of the preview, which is the spectrogram's.
        preview: float32 of shape (samples,), mono, at most `PREVIEW_SECONDS` from the
            middle of the used sound; None if not requested.
    """

    spectrogram: npt.NDArray[np.uint8]
    seconds: float
    used_seconds: float
    is_silent: bool
    was_shortened: bool
    was_repeated: bool
    sample_rate_hz: int
    preview: npt.NDArray[np.float32] | None


def decode_recording(
    path: Path,
    settings: SpectrogramSettings,
    *,
    max_seconds: float = 600.0,
    block_seconds: float = 30.0,
    with_preview: bool = True,
) -> DecodedRecording:
    """Decodes a sound file (MP3, OGG, FLAC, WAV or another format that libsndfile reads; any rate, any channels).

    Channels are averaged and resampled to `settings.sample_rate_hz`. A recording longer than `max_seconds` is
    represented by evenly spread parts of that total duration; no frame of the spectrogram spans two parts.

    Args:
        path: the file.
        settings: spectrogram settings, none of them None.
        max_seconds: maximum duration used; `math.inf` uses all.
        block_seconds: duration decoded at a time; it does not affect the result.
        with_preview: whether to keep a listening clip.

    Raises:
        RejectedPair: "missing sound"; "undecodable sound" (not a sound file, damaged, shorter than its header states,
            or non-finite samples); "sound too short" (less than one window after resampling).
        ValueError: `max_seconds` or `block_seconds` is not positive, or a setting is None.
    """
    if not max_seconds > 0:
        raise ValueError(f"max_seconds must be > 0, got {max_seconds}")
    if not block_seconds > 0:
        raise ValueError(f"block_seconds must be > 0, got {block_seconds}")
    if not path.is_file():
        raise RejectedPair("missing sound", f"{path.name}: no such file")
    with opened(path) as sound:
        rate = sound.samplerate
        parts = evenly_spread_parts(sound.frames, rate, max_seconds)
        was_shortened = parts != [(0, sound.frames)]
        collected = _Collected(settings, PREVIEW_SECONDS if with_preview else 0.0)
        used_frames = 0
        for index, (start, num_frames) in enumerate(parts):
            if was_shortened:
                sound.seek(start)
            collected.start_part(num_frames / rate, holds_preview=index == len(parts) // 2)
            resample = _Resampler(rate, collected.sample_rate_hz)
            for mono in mono_blocks(sound, path, start, num_frames, block_seconds):
                used_frames += len(mono)
                for chunk in range(0, len(mono), CHUNK_SAMPLES):
                    collected.add(resample(mono[chunk : chunk + CHUNK_SAMPLES]))
            collected.add(resample.rest())
            collected.end_part()
        whole_frames = sound.frames if was_shortened else used_frames
    return collected.recording(path, whole_frames / rate, used_frames / rate, was_shortened)


def evenly_spread_parts(num_frames: int, sample_rate_hz: int, max_seconds: float) -> list[tuple[int, int]]:
    """The parts of a recording to use: (first frame, number of frames) of each, in order.

    A recording of at most `max_seconds` is one part. A longer one is divided into up to `MAX_PARTS` equal segments, of
    which the middle is used; the parts add up to exactly `max_seconds`.
    """
    if num_frames <= max_seconds * sample_rate_hz:
        return [(0, num_frames)]
    total = round(max_seconds * sample_rate_hz)
    num_parts = min(MAX_PARTS, max(1, int(max_seconds // MIN_PART_SECONDS)))
    lengths = [total * (i + 1) // num_parts - total * i // num_parts for i in range(num_parts)]
    return [((2 * i + 1) * num_frames // (2 * num_parts) - n // 2, n) for i, n in enumerate(lengths)]


def encode_preview(waveform: npt.NDArray[np.float32], sample_rate_hz: int = 16_000) -> bytes:
    """Encodes a listening clip as mono MP3 of variable bit rate; the same waveform gives the same bytes.

    Args:
        waveform: float32 of shape (samples,), clipped to ±1.
        sample_rate_hz: a sampling rate that MP3 supports (8, 11.025, 12, 16, 22.05, 24, 32, 44.1 or 48 kHz).
    """
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        np.clip(waveform, -1.0, 1.0),
        sample_rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=PREVIEW_COMPRESSION,
    )
    return encoded.getvalue()


class _Resampler:
    """Resamples with soxr in high quality; does nothing if the rates are equal."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None
        if from_hz != to_hz:
            self._stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")

    def __call__(self, waveform: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return waveform if self._stream is None else self._stream.resample_chunk(waveform)

    def rest(self) -> npt.NDArray[np.float32]:
        """Flushes the resampler after the last chunk."""
        nothing = np.empty(0, np.float32)
        return nothing if self._stream is None else self._stream.resample_chunk(nothing, last=True)


class _Collected:
    """Collects spectrogram, peak and preview of a resampled recording, part by part."""

    def __init__(self, settings: SpectrogramSettings, preview_seconds: float) -> None:
        from shards.decoding.spectrogram_stream import SpectrogramStream  # imports torch, which takes a second

        self._stream = SpectrogramStream(settings)
        assert settings.sample_rate_hz is not None
        self.sample_rate_hz = settings.sample_rate_hz
        self._preview_samples = round(preview_seconds * self.sample_rate_hz)
        self._frames: list[npt.NDArray[np.uint8]] = []
        self._preview: list[npt.NDArray[np.float32]] = []
        self._peak = 0.0
        self._num_samples = 0
        self._samples_to_preview: int | None = None

    def start_part(self, seconds: float, *, holds_preview: bool) -> None:
        """Starts a part of that duration; with `holds_preview`, the preview is taken from its middle."""
        self._samples_to_preview = None
        if holds_preview:
            self._samples_to_preview = max(0, (round(seconds * self.sample_rate_hz) - self._preview_samples) // 2)

    def add(self, waveform: npt.NDArray[np.float32]) -> None:
        """Adds the next samples of the part."""
        self._num_samples += len(waveform)
        if len(waveform) > 0:
            self._peak = max(self._peak, float(waveform.max()), -float(waveform.min()))
        self._frames.append(self._stream.push(waveform))
        if self._samples_to_preview is not None:
            skipped = min(self._samples_to_preview, len(waveform))
            self._samples_to_preview -= skipped
            wanted = self._preview_samples - sum(map(len, self._preview))
            if wanted > 0 and skipped < len(waveform):
                self._preview.append(waveform[skipped : skipped + wanted].copy())

    def end_part(self) -> None:
        """Completes the part's frames; no frame spans two parts."""
        self._frames.append(self._stream.finish())

    def recording(self, path: Path, seconds: float, used_seconds: float, was_shortened: bool) -> DecodedRecording:
        """The result, after all parts have ended."""
        spectrogram = np.concatenate([frames.T for frames in self._frames]).T
        if spectrogram.shape[1] == 0:
            length = f"{self._num_samples} samples at {self.sample_rate_hz} Hz"
            raise RejectedPair("sound too short", f"{path.name}: {length}, fewer than {self._stream.min_samples}")
        return DecodedRecording(
            spectrogram=repeat_to_length(spectrogram),
            seconds=seconds,
            used_seconds=used_seconds,
            is_silent=self._peak < SILENCE_PEAK,
            was_shortened=was_shortened,
            was_repeated=spectrogram.shape[1] < MIN_FRAMES,
            sample_rate_hz=self.sample_rate_hz,
            preview=np.concatenate(self._preview) if self._preview else None,
        )
