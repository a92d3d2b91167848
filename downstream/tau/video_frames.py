"""Video → one picture a second, decoded forward, so that one frame at a time is in memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from shards.errors import RejectedPair

TOLERATED_LOSS_SECONDS = 0.5
"""A clip may end so much early: until then each of its seconds still shows its middle."""


def pictures_of_seconds(path: Path, seconds: int) -> Iterator[NDArray[np.uint8]]:
    """The frame that a video shows in the middle of each of its first seconds.

    Args:
        path: any file that FFmpeg reads.
        seconds: how many are wanted.

    Yields:
        (height, width, 3) uint8 RGB, as soon as it is decoded; `seconds` of them.

    Raises:
        RejectedPair: there is no video stream, it can't be decoded, or it ends early.
    """
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise RejectedPair("no video stream", f"{path.name}: it holds no pictures")
            yield from _shown(path, container.decode(container.streams.video[0]), seconds)
    except av.error.FFmpegError as error:
        raise RejectedPair("undecodable video", f"{path.name}: {error.strerror or error}") from error


def _shown(path: Path, frames: Iterator[av.VideoFrame], seconds: int) -> Iterator[NDArray[np.uint8]]:
    """The last frame that begins at or before each middle of a second; times count from the first frame."""
    second, begin, interval = 0, 0.0, 0.0
    shown: av.VideoFrame | None = None
    start: float | None = None
    for frame in frames:
        if frame.time is None:
            continue
        start = frame.time if start is None else start
        time = frame.time - start
        while shown is not None and second < seconds and second + 0.5 < time:
            yield _rgb(shown)
            second += 1
        if second == seconds:
            return
        shown, interval, begin = frame, time - begin, time
    end = begin + interval
    if shown is None or end < seconds - TOLERATED_LOSS_SECONDS:
        raise RejectedPair("ends early", f"{path.name}: {end:.1f} s of {seconds} s of video")
    for _ in range(second, seconds):
        yield _rgb(shown)


def _rgb(frame: av.VideoFrame) -> NDArray[np.uint8]:
    return np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
