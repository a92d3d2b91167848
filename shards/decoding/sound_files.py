"""Opens sound files with FFmpeg and decodes them forward; what a file states about itself is checked, not believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import av
import numpy as np
import numpy.typing as npt
import soxr

from shards.decoding.stated_lengths import has_last_ogg_page, is_mp4, stated_extent, stated_mp3_frames
from shards.errors import RejectedPair

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

CONTAINERS = "wav,w64,aiff,au,caf,flac,ogg,mp3,aac,mov,mp4,m4a,3gp,asf,amr,amrnb,amrwb,matroska,webm"
"""FFmpeg's demuxers that may open a file: none that opens other files, as playlists do."""

TOLERATED_LOSS_SECONDS = 1.0
TOLERATED_LOSS_SHARE = 0.001
"""Encoders state lengths that are off by a few MP3 frames; a file with a larger loss counts as damaged."""

SELF_DESCRIBING = (b"RIFF", b"RF64", b"BW64", b"FORM", b"caff", b"riff", b".snd")
PCM_OPTIONS = {"probesize": "65536", "max_size": "65536"}
"""Of self-describing containers. FFmpeg reads up to 5 MB of a file to find out what it holds, in 30 ms, where these
headers state it; and WAV files in packets of 4 KB, each with a cost of its own."""

EXACT = {"flac": 0.0, "ogg": 0.1}
"""Containers that state the number of samples itself, and the tolerance in seconds. A file of several that were joined
holds more than the first or last states."""

SAMPLE_RATES_HZ = (1_000, 1_000_000)
"""Rates outside this range indicate a damaged header; resampling from 1 Hz would exhaust the memory."""

SAMPLE_FORMATS: dict[str, tuple[type[np.generic], float, float]] = {
    "u8": (np.uint8, -128.0, 2.0**-7),
    "s16": (np.int16, 0.0, 2.0**-15),
    "s32": (np.int32, 0.0, 2.0**-31),
    "s64": (np.int64, 0.0, 2.0**-63),
    "flt": (np.float32, 0.0, 1.0),
    "dbl": (np.float64, 0.0, 1.0),
}
"""Type of the samples of a format, what is added to them, and then multiplied, for a full scale of ±1."""

MIN_SOUND_BYTES = 16
"""FFmpeg opens no file with less sound than that."""

JOINED = "it holds recordings of different rate or channels that were joined; save each as a file of its own"

CHUNK_SAMPLES = 2**16
"""Length of what is mixed and resampled at a time; packets have any length, and each step has a cost of its own."""

Samples = npt.NDArray[np.float32]


class SoundFile:
    """An open sound file, decoded once from its beginning.

    Attributes:
        path: the file.
        rate_hz: sampling rate at the beginning.
        num_channels: number of channels at the beginning.
        codec: FFmpeg's name of the decoder.
        stated_seconds: duration by the header, which may be wrong or an estimate; None if unknown.
    """

    def __init__(self, path: Path, file: BinaryIO, container: InputContainer, stream: AudioStream) -> None:
        self.path, self._file, self.container, self.stream = path, file, container, stream
        context = stream.codec_context
        if context is None:  # for a codec that FFmpeg doesn't know; PyAV's types don't say so
            raise RejectedPair("undecodable sound", f"{path.name}: its codec is not known")
        context.thread_count = 1
        if context.name == "flac":
            context.options = {"err_detect": "crccheck+explode"}
        self.rate_hz, self.num_channels, self.codec = context.sample_rate, context.channels, context.name
        self.stated_seconds = container.duration / av.time_base if container.duration else None
        if not SAMPLE_RATES_HZ[0] <= self.rate_hz <= SAMPLE_RATES_HZ[1]:
            raise self.undecodable(f"sampling rate {self.rate_hz} Hz")

    def blocks(self) -> Iterator[tuple[Samples, int]]:
        """Decodes all frames in order: (float32 of shape (channels, samples), full scale ±1; sampling rate).

        Raises:
            RejectedPair: "undecodable sound": damaged, or ends before the end that the file states.
        """
        first_frame: int | None = None
        seconds = 0.0
        failure: str | None = None
        for packet in self.packets():
            if first_frame is None:
                first_frame = packet.pos
            try:
                frames = self.decode(packet)
            except av.FFmpegError as error:
                failure = failure or f"damaged after {seconds:.1f} s ({error.strerror})"
                continue
            for frame in frames:
                # Before the first sound, and after the last, lie frames that were cut where a stream was recorded.
                if failure is not None and seconds > 0:
                    raise self.undecodable(failure)
                failure = None
                yield as_floats(frame), frame.sample_rate
                seconds += frame.samples / frame.sample_rate
        if failure is not None and seconds == 0:
            raise _no_sound(self.path, self._file)
        self.check_end(seconds, first_frame or 0)

    def even_blocks(self) -> Iterator[Samples]:
        """As `blocks`, at the rate and with the number of channels of the beginning, where joined files change them.

        Yields:
            float32 of shape (`num_channels`, samples).
        """
        stream, stream_rate = None, self.rate_hz
        nothing = np.empty((0, self.num_channels), np.float32)
        for block, rate in self.blocks():
            block = self.with_channels(block)
            if rate != stream_rate and self.codec == "flac":
                # The parser gives some frames at the seam the rate of the other file.
                raise self.undecodable(JOINED)
            if rate != stream_rate:
                if stream is not None:
                    yield stream.resample_chunk(nothing, last=True).T
                stream, stream_rate = None, rate
                if rate != self.rate_hz:
                    stream = soxr.ResampleStream(rate, self.rate_hz, self.num_channels, dtype="float32", quality="HQ")
            yield block if stream is None else stream.resample_chunk(np.ascontiguousarray(block.T)).T
        if stream is not None:
            yield stream.resample_chunk(nothing, last=True).T

    def with_channels(self, block: Samples) -> Samples:
        """The block, or if it has another number of channels than the beginning, its mean on each channel."""
        if len(block) == self.num_channels:
            return block
        return np.repeat(block.mean(axis=0, keepdims=True), self.num_channels, axis=0)

    def beginning(self, num_samples: int) -> Samples:
        """The first samples, float32 of shape (channels, at most `num_samples`)."""
        blocks: list[Samples] = []
        missing = num_samples
        for block in self.even_blocks():
            blocks.append(block[:, :missing])
            missing -= blocks[-1].shape[1]
            if missing == 0:
                break
        return np.concatenate([np.empty((self.num_channels, 0), np.float32), *blocks], axis=1)

    def packets(self) -> Iterator[Packet]:
        """The packets of the sound track in order, the last one empty.

        Raises:
            RejectedPair: the container is damaged.
        """
        try:
            yield from self.container.demux(self.stream)
        except av.PatchWelcomeError as error:
            raise self.undecodable(JOINED) from error
        except av.FFmpegError as error:
            raise self.undecodable(error.strerror or str(error)) from error

    def decode(self, packet: Packet | None) -> list[AudioFrame]:
        """The frames that a packet completes; None: those that are still in the decoder.

        Raises:
            av.FFmpegError: the packet is damaged, or refers to packets that were not decoded.
        """
        return self.stream.codec_context.decode(packet)

    def check_end(self, seconds: float, first_frame: int) -> None:
        """Rejects a file that ends before what it states.

        Args:
            seconds: duration that was decoded or counted.
            first_frame: offset of the first packet.
        """
        stated = self._stated_seconds(seconds, first_frame)
        tolerance = EXACT.get(self.container.format.name)
        if tolerance is None:
            tolerance = TOLERATED_LOSS_SECONDS + TOLERATED_LOSS_SHARE * (stated or 0.0)
        if stated is not None and stated - seconds > tolerance + 0.5 / self.rate_hz:
            raise self.undecodable(f"ends after {seconds:.1f} s of {stated:.1f} s, which its header states")
        if self.container.format.name == "ogg" and not has_last_ogg_page(self._file):
            raise self.undecodable(f"cut short after {seconds:.1f} s: its last Ogg page is missing")

    def _stated_seconds(self, seconds: float, first_frame: int) -> float | None:
        """The duration that the file states, None if it states none."""
        if self.container.format.name in EXACT:
            if self.stream.duration is None or self.stream.time_base is None:
                return None
            return float(self.stream.duration * self.stream.time_base)
        if self.codec in ("mp3", "mp3float"):
            frames = stated_mp3_frames(self._file, first_frame)
            return None if frames is None else frames * (1152 if self.rate_hz >= 32_000 else 576) / self.rate_hz
        extent = stated_extent(self._file)
        if extent is None or extent.end <= extent.start:
            return None
        present = min(self._file.seek(0, 2), extent.end) - extent.start
        return seconds * (extent.end - extent.start) / max(1, present)

    def undecodable(self, why: str) -> RejectedPair:
        """The rejection of this file for that reason."""
        return RejectedPair("undecodable sound", f"{self.path.name}: {why}")


@contextmanager
def opened(path: Path) -> Iterator[SoundFile]:
    """Opens a sound file of any format that FFmpeg reads, by its content.

    Raises:
        RejectedPair: "undecodable sound": empty, no sound file, or without a sound track.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise RejectedPair("undecodable sound", f"{path.name}: the file is empty")
        file.seek(0)
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": ""}
        if file.read(4) in SELF_DESCRIBING:
            options |= PCM_OPTIONS
        file.seek(0)
        try:
            # A file object instead of a name, so that FFmpeg sees no name that it might take for a protocol or a list.
            container = av.open(
                file,
                options=options,
                metadata_errors="ignore",
            )
        except (av.FFmpegError, ValueError) as error:
            raise _no_sound(path, file, is_cut=isinstance(error, av.EOFError)) from error
        with container:
            stream = container.streams.best("audio")
            if stream is None:
                raise RejectedPair("undecodable sound", f"{path.name}: it has no sound track")
            yield SoundFile(path, file, cast("InputContainer", container), cast("AudioStream", stream))


def _no_sound(path: Path, file: BinaryIO, *, is_cut: bool = False) -> RejectedPair:
    """The reason why FFmpeg finds no sound in a file; `is_cut`: it reached the end of the file looking for it."""
    extent = stated_extent(file)
    if extent is not None and file.seek(0, 2) - extent.start < MIN_SOUND_BYTES:
        return RejectedPair("sound too short", f"{path.name}: it ends before its first sample")
    file.seek(0)
    if is_mp4(file.read(8)):
        why = "an MP4 file without a readable index, as an interrupted recording leaves it"
    elif is_cut:
        why = "it ends before any sound"
    else:
        why = "not a sound file that FFmpeg can read"
    return RejectedPair("undecodable sound", f"{path.name}: {why}")


def as_floats(frame: AudioFrame) -> Samples:
    """The samples of a frame, float32 of shape (channels, samples), full scale ±1."""
    dtype, offset, scale = SAMPLE_FORMATS[frame.format.packed.name]
    num_samples, num_channels = frame.samples, frame.layout.nb_channels
    if frame.format.is_planar:  # `frame.to_ndarray` takes twice as long
        values = np.array([np.frombuffer(memoryview(plane), dtype, num_samples) for plane in frame.planes])
    else:
        interleaved = np.frombuffer(memoryview(frame.planes[0]), dtype, num_samples * num_channels)
        values = interleaved.reshape(-1, num_channels).T
    if dtype is np.float32:
        return values
    if dtype is np.int16:  # exact in float32, in which it is faster
        return np.multiply(values, np.float32(scale), dtype=np.float32, order="C")
    return ((values + offset) * scale).astype(np.float32, order="C")


def in_chunks(blocks: Iterable[tuple[int, Samples]]) -> Iterator[tuple[int, Samples]]:
    """Divides the blocks of each part again, into chunks of `CHUNK_SAMPLES`, the last of a part excepted.

    Args:
        blocks: (number of the part, float32 of shape (channels, samples)), in the order of the parts.
    """
    pending: list[Samples] = []
    size, current = 0, 0
    for number, block in blocks:
        if size and number != current:
            yield current, np.concatenate(pending, axis=1)
            pending, size = [], 0
        current = number
        pending.append(block)
        size += block.shape[1]
        if size >= CHUNK_SAMPLES:
            joined = np.concatenate(pending, axis=1)
            size %= CHUNK_SAMPLES
            end = joined.shape[1] - size
            for start in range(0, end, CHUNK_SAMPLES):
                yield current, joined[:, start : start + CHUNK_SAMPLES]
            pending = [joined[:, end:]]
    if size:
        yield current, np.concatenate(pending, axis=1)
