"""Decodes sound files to stored spectrograms and listening clips, in blocks and so in constant memory."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soxr

from shards.decoding.channels import AUTO, MIN_CHANNELS_TO_SELECT, Levels, Mix, check_channels
from shards.decoding.sound_files import TOLERATED_LOSS_SECONDS, Samples, SoundFile, in_chunks, opened
from shards.decoding.sound_parts import Timeline, part_blocks, survey
from shards.decoding.spectrogram import repeat_to_length
from shards.errors import RejectedPair
from shards.schema import MIN_FRAMES, SoundCounts, SpectrogramSettings

MAX_PARTS = 20
MIN_PART_SECONDS = 10.0
"""From a recording that is too long, at most `MAX_PARTS` parts are used, none much shorter than `MIN_PART_SECONDS`."""

SILENCE_PEAK = 1e-4
"""A recording is silent if no sample reaches this fraction of full scale (−80 dBFS, three 16-bit steps)."""

STRETCH_SAMPLES = 2**12
"""Length of a stretch that is silent or not, a tenth of a second at usual rates."""

PREVIEW_SECONDS = 10.0

PREVIEW_ENCODER = {"compression_level": "7", "flags": "+qscale", "global_quality": str(5 * 118)}
"""LAME's fast search and its variable bit rate V5 (118 is FFmpeg's unit); about 28 kbit/s for 16 kHz mono."""

PREVIEW_CONTAINER = {"id3v2_version": "0", "fflags": "+bitexact"}


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
        counts: what was found about the sound, for the sample's metadata and the statistics of a build.
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
    counts: SoundCounts
    sample_rate_hz: int
    preview: npt.NDArray[np.float32] | None


def decode_recording(
    path: Path,
    settings: SpectrogramSettings,
    *,
    max_seconds: float = 600.0,
    channels: str = AUTO,
    with_preview: bool = True,
) -> DecodedRecording:
    """Decodes a sound file of any format that FFmpeg reads, of any rate and number of channels.

    The channels become one (`shards.decoding.channels`), which is resampled to `settings.sample_rate_hz`. A recording
    longer than `max_seconds` is represented by evenly spread parts of that total duration; no frame of the spectrogram
    spans two parts. Its length is counted, whatever its header states.

    Args:
        path: the file.
        settings: spectrogram settings, none of them None.
        max_seconds: maximum duration used; `math.inf` uses all.
        channels: "auto": up to three channels are averaged, unless two have opposite phase, of which the louder is
            used; of four and more the first is used. "mean", or the number of a channel, counted from 1.
        with_preview: whether to keep a listening clip.

    Raises:
        RejectedPair: "missing sound"; "undecodable sound" (not a sound file, damaged, shorter than its header states,
            or non-finite samples); "missing channel"; "sound too short" (less than one window after resampling).
        ValueError: `max_seconds` is not positive, `channels` is none of these, or a setting is None.
    """
    if not max_seconds > 0:
        raise ValueError(f"max_seconds must be > 0, got {max_seconds}")
    check_channels(channels)
    if not path.is_file():
        raise RejectedPair("missing sound", f"{path.name}: no such file")
    with opened(path) as sound:
        return _decode_opened(sound, settings, max_seconds, channels, with_preview)


def _decode_opened(
    sound: SoundFile, settings: SpectrogramSettings, max_seconds: float, channels: str, with_preview: bool
) -> DecodedRecording:
    """As `decode_recording`; the file is decoded again if its end shows that it must be done in another way."""
    path, rate_hz, num_channels, stated = sound.path, sound.rate_hz, sound.num_channels, sound.stated_seconds
    mix = Mix.of(channels, num_channels, path.name)
    timeline = survey(path) if stated is not None and stated > max_seconds else None
    preview_seconds = PREVIEW_SECONDS if with_preview else 0.0
    once: SoundFile | None = sound
    while True:
        collected = _Collected(settings, preview_seconds)
        levels = Levels(num_channels)
        with opened(path) if once is None else nullcontext(once) as current:
            used = _decode(current, collected, levels, mix, timeline, max_seconds, stated)
        once = None
        if used is None:
            timeline = survey(path)  # it is longer than it states
            continue
        better = levels.better(mix, channels, path.name)
        is_off = stated is None or abs(used / rate_hz - stated) > TOLERATED_LOSS_SECONDS
        if better == mix and not (is_off and timeline is None and with_preview):
            break
        mix, stated = better, used / rate_hz
    counts = SoundCounts(
        decoder=f"ffmpeg {sound.codec}",
        channels=mix.describe(num_channels),
        num_samples=levels.num_samples,
        num_clipped=levels.num_clipped,
        silent_share=collected.silent_share,
        is_opposite_phase=mix.is_opposite_phase,
        is_one_of_many=mix.channel is not None and num_channels >= MIN_CHANNELS_TO_SELECT,
        is_integer_scale=mix.scale != 1.0,
    )
    whole = used if timeline is None else timeline.num_samples
    return collected.recording(path, whole / rate_hz, used / rate_hz, whole > used, counts)


def _decode(
    sound: SoundFile,
    collected: _Collected,
    levels: Levels,
    mix: Mix,
    timeline: Timeline | None,
    max_seconds: float,
    expected_seconds: float | None,
) -> int | None:
    """Decodes a file, or with its timeline evenly spread parts of it, and returns the number of samples per channel.

    Without a timeline all is decoded, with the preview from the middle of the expected duration; returns None if the
    file turns out to be longer than `max_seconds`.
    """
    path, rate_hz = sound.path, sound.rate_hz
    blocks: Iterator[tuple[int, Samples]]
    if timeline is None:
        max_samples, lengths = max_seconds * rate_hz, [(expected_seconds or 0.0) * rate_hz]
        blocks = ((0, block) for block in sound.even_blocks())
    else:
        parts = evenly_spread_parts(timeline.num_samples, rate_hz, max_seconds)
        max_samples, lengths = math.inf, [length for _, length in parts]
        blocks = part_blocks(path, timeline, parts)
    num_samples = 0
    current, resample = -1, _Resampler(rate_hz, collected.sample_rate_hz)
    for number, chunk in in_chunks(blocks):
        if number != current:
            if current >= 0:
                collected.end_part(resample.rest())
            resample = _Resampler(rate_hz, collected.sample_rate_hz)
            collected.start_part(lengths[number] / rate_hz, holds_preview=number == len(lengths) // 2)
            current = number
        num_samples += chunk.shape[1]
        if num_samples > max_samples:
            return None
        mono = mix(chunk)
        levels.add(chunk, mix.scale)
        if not collected.add_level(mono):
            raise RejectedPair("undecodable sound", f"{path.name}: non-finite samples")
        collected.add(resample(mono))
    collected.end_part(resample.rest())
    return num_samples


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
    clipped = np.clip(waveform, -1.0, 1.0)[None]
    encoded = io.BytesIO()
    with av.open(encoded, "w", format="mp3", options=PREVIEW_CONTAINER) as container:
        stream = container.add_stream("libmp3lame", rate=sample_rate_hz, layout="mono", options=PREVIEW_ENCODER)
        stream.codec_context.format = "fltp"
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(clipped, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = sample_rate_hz, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
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
        self._num_heard = 0
        self._num_silent = 0
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
        self._frames.append(self._stream.push(waveform))
        if self._samples_to_preview is not None:
            skipped = min(self._samples_to_preview, len(waveform))
            self._samples_to_preview -= skipped
            wanted = self._preview_samples - sum(map(len, self._preview))
            if wanted > 0 and skipped < len(waveform):
                self._preview.append(waveform[skipped : skipped + wanted].copy())

    def add_level(self, mono: Samples) -> bool:
        """Adds the level of samples, at the rate of the file; returns whether all are finite."""
        starts = np.arange(0, len(mono), STRETCH_SAMPLES)
        peaks = np.maximum(np.maximum.reduceat(mono, starts), -np.minimum.reduceat(mono, starts))
        self._peak = max(self._peak, float(peaks.max()))
        self._num_heard += len(mono)
        self._num_silent += int(np.diff(starts, append=len(mono))[peaks < SILENCE_PEAK].sum())
        return bool(np.isfinite(peaks).all())

    @property
    def silent_share(self) -> float:
        """Share of the samples in stretches (`STRETCH_SAMPLES`) without one that reaches `SILENCE_PEAK`."""
        return self._num_silent / max(1, self._num_heard)

    def end_part(self, rest: Samples) -> None:
        """Adds the last samples and completes the part's frames; no frame spans two parts."""
        self.add(rest)
        self._frames.append(self._stream.finish())

    def recording(
        self, path: Path, seconds: float, used_seconds: float, was_shortened: bool, counts: SoundCounts
    ) -> DecodedRecording:
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
            counts=counts,
            sample_rate_hz=self.sample_rate_hz,
            preview=np.concatenate(self._preview) if self._preview else None,
        )
