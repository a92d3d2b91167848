"""Images and sounds as inputs of the towers; files are decoded by processes of their own, ahead of the encoders."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrain.data.audio_transforms import spread_crops_of
from pretrain.data.image_transforms import evaluation_image
from pretrain.data.loader_processes import START_METHOD, start_server
from retrieval.file_embedding import stored_part_of
from retrieval.sources import ImageSource, SoundSource, Waveform
from shards.child_processes import end_with_parent, ignore_signals
from shards.decoding.audio_decoding import decode_recording
from shards.errors import RejectedPair, UserError
from shards.raster_settings import RasterSettings
from shards.schema import SpectrogramSettings

FILES_PER_PROCESS = 64
"""With fewer files, decoding takes no longer than starting a process."""
MAX_PROCESSES = 16
AHEAD_PER_PROCESS = 4
"""Decoded files that wait for the encoders."""
PRELOADED = ("pretrain.data.server_signals", "retrieval.file_inputs", "shards.decoding.spectrogram_stream")
"""What the server imports that the processes are forked from."""

Inputs = NDArray[np.uint8]
Attempt = Inputs | tuple[str, str]
"""The inputs of a file, or why it has none: a reason and a detail."""


@dataclass(frozen=True)
class ImageInput:
    """The evaluation view of an image: (1, 3, size, size).

    Attributes:
        rasters: bands and scale of rasters.
        size: side in pixels.
    """

    rasters: RasterSettings
    size: int

    def __call__(self, source: ImageSource) -> Inputs:
        """Raises RejectedPair if it can't be decoded."""
        return evaluation_image(stored_part_of(source, self.rasters), self.size)[None]


@dataclass(frozen=True)
class SoundInput:
    """Evenly spaced crops of a sound's spectrogram: (up to `crops`, 1, mel bands, `num_frames`).

    Attributes:
        settings: of the spectrogram.
        num_frames: of each crop.
        crops: how many, at most.
        max_seconds: as in `shards.decoding.audio_decoding.decode_recording`.
    """

    settings: SpectrogramSettings
    num_frames: int
    crops: int
    max_seconds: float

    def __call__(self, source: SoundSource) -> Inputs:
        """Raises RejectedPair if it can't be decoded."""
        if isinstance(source, Waveform):
            with source.as_file() as path:
                try:
                    return self(path)
                except RejectedPair as rejection:
                    raise RejectedPair(rejection.reason, rejection.detail.removeprefix(f"{path.name}: ")) from rejection
        sound = decode_recording(source, self.settings, max_seconds=self.max_seconds, with_preview=False)
        return spread_crops_of(sound.spectrogram, self.num_frames, self.crops)


def read_inputs(sources: Sequence[Any], read: Callable[[Any], Inputs]) -> Iterator[Attempt]:
    """The inputs of each source in order, or the reason why it has none; many files are read by several processes.

    Args:
        sources: files, or what is in memory.
        read: an `ImageInput` or a `SoundInput`.

    Raises:
        UserError: a process ended while it read a file.
    """
    processes = min(len(os.sched_getaffinity(0)), MAX_PROCESSES, len(sources) // FILES_PER_PROCESS)
    # What is in memory is not decoded, and copying it to a process would take longer than what is left to do.
    if processes == 0 or not all(isinstance(source, Path) for source in sources):
        yield from (_attempt(read, source) for source in sources)
        return
    start_server(PRELOADED)
    waiting: deque[tuple[Path, Future[Attempt]]] = deque()
    pool = ProcessPoolExecutor(processes, get_context(START_METHOD), _start_process)
    try:
        for path in sources:
            with _without_main_module():
                future = pool.submit(_attempt, read, path)
            waiting.append((path, future))
            if len(waiting) > AHEAD_PER_PROCESS * processes:
                yield waiting[0][1].result()
                waiting.popleft()
        while waiting:
            yield waiting[0][1].result()
            waiting.popleft()
    except BrokenProcessPool as error:
        unread = [path.name for path, future in waiting if not future.done() or future.exception()]
        names = ", ".join(unread[:processes])
        raise UserError(
            f"a process that decodes files ended: out of memory, or a file crashed its decoder (being read: {names}); "
            "move that file elsewhere and run the command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Has processes that are started meanwhile not run the caller's script, of which they need nothing.

    They would run it to its first call of this function, where a script without `if __name__ == "__main__"` fails.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _attempt(read: Callable[[Any], Inputs], source: Any) -> Attempt:
    try:
        return read(source)
    except RejectedPair as rejection:
        return rejection.reason, rejection.detail
    except OSError as error:
        return "unreadable file", error.strerror or str(error)


def _start_process() -> None:
    import cv2
    import torch

    end_with_parent()
    ignore_signals()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that prints
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
