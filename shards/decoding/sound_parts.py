"""Counts the samples of a long sound file without decoding it, and decodes parts of it, exact to the sample."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av

from shards.decoding.sound_files import Samples, SoundFile, as_floats, opened

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.packet import Packet

PREROLL_PACKETS = 32
"""Decoded before a part and dropped: a frame of an MP3 refers to up to 511 bytes before it, the payload of 28 of the
smallest frames, and Opus settles within 80 ms."""

ROUNDED_TIMES = ("matroska", "asf")
"""Containers whose packets have times in milliseconds, from which samples can't be counted."""


@dataclass(frozen=True)
class Timeline:
    """The samples of a sound file.

    Attributes:
        num_samples: of each channel, at `rate_hz`.
        rate_hz: sampling rate.
        first_time: time of the first decoded sample in units of the track; None if the times of the packets don't
            count its samples, so that a part can only be reached by decoding all before it.
    """

    num_samples: int
    rate_hz: int
    first_time: int | None


def survey(path: Path) -> Timeline:
    """Counts the samples of a file: by the times of its packets where these are exact, else by decoding it.

    Raises:
        RejectedPair: the file is damaged, or ends before the end that it states.
    """
    with opened(path) as sound:
        timeline = _by_packets(sound)
    if timeline is not None:
        return timeline
    with opened(path) as sound:
        rate_hz = sound.rate_hz
        seconds = sum((Fraction(block.shape[1], rate) for block, rate in sound.blocks()), Fraction(0))
    return Timeline(round(seconds * rate_hz), rate_hz, None)


def part_blocks(path: Path, timeline: Timeline, parts: list[tuple[int, int]]) -> Iterator[tuple[int, Samples]]:
    """Decodes parts of a file: (number of the part, float32 of shape (channels, samples)) in order.

    The samples are those that decoding the whole file gives at these places (for codecs that add random noise, such as
    AAC and Opus, up to that noise).

    Args:
        path: the file.
        timeline: its `survey`.
        parts: (first sample, number of samples) of each, in order and disjoint.

    Raises:
        RejectedPair: the file is damaged.
    """
    with opened(path) as sound:
        decoded = _decode_all(sound) if timeline.first_time is None else _decode_near(sound, timeline, parts)
        number = 0
        for position, block in decoded:
            end = position + block.shape[1]
            while number < len(parts):
                first, length = parts[number]
                if end <= first:
                    break
                wanted = block[:, max(0, first - position) : max(0, first + length - position)]
                if wanted.shape[1]:
                    yield number, wanted
                if end < first + length:
                    break
                number += 1
            if number == len(parts):
                return


def _by_packets(sound: SoundFile) -> Timeline | None:
    """The timeline, if each packet begins where the one before it ends."""
    stream = sound.stream
    if sound.container.format.name.split(",")[0] in ROUNDED_TIMES or stream.time_base is None:
        return None
    per_sample = 1 / (stream.time_base * sound.rate_hz)
    if per_sample.denominator != 1:
        return None
    expected: int | None = None
    usual: int | None = None
    previous: int | None = None
    first_packet: int | None = None
    first: AudioFrame | None = None
    recent: deque[Packet] = deque(maxlen=PREROLL_PACKETS)
    for packet in sound.packets():
        if not packet.size:
            continue
        duration = packet.duration
        if packet.pts is None or not duration or (expected is not None and packet.pts != expected):
            return None
        if sound.codec.startswith(("mp3", "aac")) and previous != (usual := usual or previous):
            return None  # another sampling rate, after files were joined; only the last packet may be shorter
        previous = duration
        expected = packet.pts + duration
        first_packet = packet.pos if first_packet is None else first_packet
        recent.append(packet)
        if first is None:
            with suppress(av.FFmpegError):
                first = next(iter(sound.decode(packet)), None)
    if first is None or first.pts is None:
        return None
    stream.codec_context.flush_buffers()
    last = _last_frame(sound, recent)
    if last is None or last.pts is None:
        return None
    num_samples = (last.pts - first.pts) // int(per_sample) + last.samples
    sound.check_end(num_samples / sound.rate_hz, first_packet or 0)
    return Timeline(num_samples, sound.rate_hz, first.pts)


def _last_frame(sound: SoundFile, packets: Iterable[Packet]) -> AudioFrame | None:
    """The last frame that the packets give; the first of them may refer to others, and the last may be cut."""
    frames: list[AudioFrame] = []
    for packet in packets:
        with suppress(av.FFmpegError):
            frames += sound.decode(packet)
    frames += sound.decode(None)
    return frames[-1] if frames else None


def _decode_all(sound: SoundFile) -> Iterator[tuple[int, Samples]]:
    position = 0
    for block in sound.even_blocks():
        yield position, block
        position += block.shape[1]


def _decode_near(sound: SoundFile, timeline: Timeline, parts: list[tuple[int, int]]) -> Iterator[tuple[int, Samples]]:
    """Decodes only the packets of parts and those shortly before them: (position of the first sample, block)."""
    time_base = sound.stream.time_base
    assert time_base is not None
    assert timeline.first_time is not None
    per_sample = int(1 / (time_base * sound.rate_hz))

    def position(time: int) -> int:
        assert timeline.first_time is not None
        return (time - timeline.first_time) // per_sample

    waiting: deque[Packet] = deque(maxlen=PREROLL_PACKETS)
    was_dropped, remaining = False, list(parts)
    for packet in sound.packets():
        if packet.pts is not None and packet.size:
            was_dropped |= len(waiting) == PREROLL_PACKETS
            waiting.append(packet)
            while remaining and position(packet.pts) >= sum(remaining[0]):
                remaining.pop(0)
            if not remaining:
                # What the last part still needs may be in the decoder.
                remaining = [(position(packet.pts), 1)]
            if position(packet.pts + (packet.duration or 0)) <= remaining[0][0]:
                continue
        if was_dropped:
            sound.stream.codec_context.flush_buffers()
        for ready in waiting:
            try:
                frames = sound.decode(ready)
            except av.FFmpegError as error:
                if ready is packet:
                    raise sound.undecodable(
                        f"damaged after {position(packet.pts or 0) / sound.rate_hz:.1f} s"
                    ) from error
                continue  # what it refers to was not decoded
            for frame in frames:
                if frame.pts is not None:
                    yield position(frame.pts), sound.with_channels(as_floats(frame))
        was_dropped = False
        waiting.clear()
    for frame in sound.decode(None):
        if frame.pts is not None:
            yield position(frame.pts), sound.with_channels(as_floats(frame))
