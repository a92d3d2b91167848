"""Ten-second clips: how long a recording is, and a clip of it, repeated where it is short, as 16-bit mono WAV."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shards.collecting.advance.rules import CLIP_SECONDS
from shards.errors import RejectedPair


@dataclass(frozen=True)
class Recording:
    """A recording whose samples were counted.

    Attributes:
        path: the file.
        num_samples: of each channel.
        rate_hz: sampling rate.
        first_time: of `shards.decoding.sound_parts.Timeline`.
    """

    path: Path
    num_samples: int
    rate_hz: int
    first_time: int | None

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.num_samples / self.rate_hz


def open_recording(path: Path) -> Recording:
    """Counts the samples of a recording, whatever its header states.

    Raises:
        RejectedPair: the file is missing or damaged, or holds no sound.
    """
    from shards.decoding.sound_parts import survey

    timeline = survey(path)
    return Recording(path, timeline.num_samples, timeline.rate_hz, timeline.first_time)


def read_clip(recording: Recording, start: int) -> NDArray[np.int16]:
    """A clip of 10 s at the recording's own rate: after its end the recording begins again.

    Its channels become one as in a build: averaged, or of two with opposite phase the louder, of four and more the
    first.

    Args:
        recording: the recording.
        start: first sample, in the recording as it is repeated.

    Returns:
        (10 s,) 16-bit samples.

    Raises:
        RejectedPair: the file is damaged.
    """
    from shards.decoding.channels import AUTO, Levels, Mix

    length = CLIP_SECONDS * recording.rate_hz
    if start + length <= recording.num_samples:
        samples = _decoded(recording, start, length)
    else:
        whole = _decoded(recording, 0, recording.num_samples)
        samples = whole[:, (start + np.arange(length)) % whole.shape[1]]
    if not np.isfinite(samples).all():
        raise RejectedPair("undecodable sound", f"{recording.path.name}: non-finite samples")
    levels = Levels(len(samples))
    levels.add(samples)
    mix = levels.better(Mix.of(AUTO, len(samples), recording.path.name), AUTO, recording.path.name)
    scaled = np.round(mix(samples) * 2**15)
    return np.clip(scaled, -(2**15), 2**15 - 1).astype(np.int16)


def _decoded(recording: Recording, start: int, length: int) -> NDArray[np.float32]:
    """(channels, length) of a recording.

    Raises:
        RejectedPair: the file is damaged, or holds fewer samples than were counted.
    """
    from shards.decoding.sound_parts import Timeline, part_blocks

    timeline = Timeline(recording.num_samples, recording.rate_hz, recording.first_time)
    blocks = [block for _, block in part_blocks(recording.path, timeline, [(start, length)])]
    found = sum(block.shape[1] for block in blocks)
    if found < length:
        raise RejectedPair("undecodable sound", f"{recording.path.name}: {found} of {length} samples were decoded")
    return np.concatenate(blocks, axis=1)


def wav_bytes(samples: NDArray[np.int16], rate_hz: int) -> bytes:
    """The content of a WAV file; the same samples give the same bytes."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()
