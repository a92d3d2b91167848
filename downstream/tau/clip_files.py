"""Clips decoded once, one at a time, into small files of frames that training reads at random; bad ones are counted."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from downstream.running.corrupt import refuse_corrupt
from downstream.tau.acoustic_features import (
    BANDS,
    CLIP_SECONDS,
    FRAMES_OF_CLIP,
    NUM_CHANNELS,
    AcousticFeatures,
    read_channels,
)
from downstream.tau.benchmark import Clip, TauData
from downstream.tau.video_frames import pictures_of_seconds
from pretrain import distributed
from shards.array_files import open_array
from shards.atomic_files import written_whole
from shards.errors import RejectedPair, UserError, disk_remedy
from shards.progress import ProgressLine

JPEG_QUALITY = 95
STAMP_CHARACTERS = 12


@dataclass(frozen=True)
class ClipFiles:
    """Where the frames of clips lie, and how they are read.

    A clip's files bear a stamp of its source's path, size and time, so that a clip that was replaced is decoded again.

    Attributes:
        folder: of the files of all clips; runs may share it.
        features: "scalogram" or "fbank".
        frame_side: the shorter side at which pictures are kept; 0: as they are.
    """

    folder: Path
    features: str
    frame_side: int

    @cached_property
    def _features(self) -> AcousticFeatures:
        return AcousticFeatures(self.features)

    @property
    def bands(self) -> int:
        """Of the acoustic features."""
        return BANDS[self.features]

    def acoustic(self, clip: Clip) -> NDArray[np.float32]:
        """A view of (56 + 10 · 3, 2, bands) on the disk: the frames of the clip, then of each second alone."""
        return open_array(self._acoustic_path(clip))

    def picture(self, clip: Clip, second: int) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB: the video frame in the middle of a second."""
        with np.load(self._pictures_path(clip)) as pictures:
            return np.asarray(cv2.imdecode(pictures[f"arr_{second}"], cv2.IMREAD_COLOR_RGB), dtype=np.uint8)

    def prepare(self, clip: Clip) -> str | None:
        """Decodes a clip unless its files exist; returns what is wrong with it."""
        try:
            if not self._acoustic_path(clip).is_file():
                buffer = io.BytesIO()
                np.save(buffer, self._features.of_clip(read_channels(clip.sound)))
                _write(self._acoustic_path(clip), buffer.getvalue())
            if not self._pictures_path(clip).is_file():
                buffer = io.BytesIO()
                pictures = map(self._encoded, pictures_of_seconds(clip.video, CLIP_SECONDS))
                np.savez(buffer, *pictures)
                _write(self._pictures_path(clip), buffer.getvalue())
        except RejectedPair as error:
            return str(error)
        return None

    def _acoustic_path(self, clip: Clip) -> Path:
        return self.folder / self.features / f"{clip.key}-{_stamp(clip.sound)}.npy"

    def _pictures_path(self, clip: Clip) -> Path:
        return self.folder / f"pictures-{self.frame_side}" / f"{clip.key}-{_stamp(clip.video)}.npz"

    def _encoded(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = picture.shape[:2]
        scale = self.frame_side / min(height, width)
        if 0 < scale < 1:
            size = (round(width * scale), round(height * scale))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return np.asarray(cv2.imencode(".jpg", picture[..., ::-1], options)[1], dtype=np.uint8)


def prepare_clips(files: ClipFiles, data: TauData, *, max_corrupt: float, threads: int = 1) -> TauData:
    """Decodes all clips that have no files yet, several processes and threads sharing the work.

    Args:
        files: where to.
        data: as the folds name it.
        max_corrupt: the largest share of rows that may be of no use, by their row or their files.
        threads: of this process, each with one clip in memory.

    Returns:
        The data without the clips that can't be decoded, whose sentences join its faults.

    Raises:
        UserError: more than a share `max_corrupt` is of no use (names the first; told before decoding where the rows
            alone are too many), or a file can't be written.
    """
    refuse_corrupt(data.faults, data.num_rows, "clips", max_corrupt)
    clips = [*data.train, *data.test]
    own = range(distributed.rank(), len(clips), distributed.num_processes())
    found: dict[str, str] = {}
    with (
        ProgressLine("decoding clips", len(own), enabled=distributed.is_first()) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        for i, fault in zip(own, pool.map(files.prepare, (clips[i] for i in own)), strict=True):
            progress.advance()
            if fault is not None:
                found[clips[i].key] = fault
    undecodable = {key: fault for part in distributed.gather_objects(found) for key, fault in part.items()}
    faults = [*data.faults, *(f"{key}: {undecodable[key]}" for key in sorted(undecodable))]
    refuse_corrupt(faults, data.num_rows, "clips", max_corrupt)
    train, test = ([clip for clip in part if clip.key not in undecodable] for part in (data.train, data.test))
    return TauData(train, test, faults, data.missing)


def acoustic_statistics(files: ClipFiles, clips: Sequence[Clip]) -> NDArray[np.float32]:
    """Mean and standard deviation of each channel's bands over all frames of clips, read one clip at a time.

    Returns:
        float32 (2, 2, bands): the means, then the deviations; those of a band that never varies are 1.
    """
    sums = np.zeros((2, NUM_CHANNELS, files.bands))
    for clip in clips[distributed.rank() :: distributed.num_processes()]:
        frames = files.acoustic(clip)[:FRAMES_OF_CLIP].astype(np.float64)
        sums += np.stack([frames.sum(0), (frames**2).sum(0)])
    mean, square = np.sum(distributed.gather_objects(sums), axis=0) / (FRAMES_OF_CLIP * len(clips))
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return np.stack([mean, np.where(deviation > 1e-6, deviation, 1)]).astype(np.float32)


def _stamp(source: Path) -> str:
    state = source.stat()
    text = f"{source.absolute()}/{state.st_size}/{state.st_mtime_ns}"
    return hashlib.blake2b(text.encode()).hexdigest()[:STAMP_CHARACTERS]


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise UserError(
            f"frames can't be written to {path.parent}: {error.strerror or error}; {disk_remedy(error)}, or name "
            "another folder by --tau.cache"
        ) from error
