"""Clips as batches: single aligned frames in a seed's order for training, whole clips in theirs for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import Unpack, override

from downstream.running.images import ImageView
from downstream.running.passes import OwnShare, Passes
from downstream.running.shuffled_batches import ShuffledBatches
from downstream.tau.acoustic_features import CLIP_SECONDS, FRAMES_OF_CLIP, second_of_frame
from downstream.tau.benchmark import Clip
from downstream.tau.clip_files import ClipFiles
from pretrain.data.batches import BatchLayout, Part
from pretrain.data.seeds import derived_seed, sample_seed
from shards.array_files import open_array
from shards.errors import UserError


@dataclass(frozen=True)
class FixedEmbeddings:
    """Image embeddings of the seconds of clips in one file, (clips, 10, width) float32; loaders get it pickled."""

    path: Path
    row_of_clip: Mapping[str, int]

    def of_clip(self, clip: Clip) -> NDArray[np.float32]:
        """(10, width), a view of the file."""
        rows: NDArray[np.float32] = open_array(self.path)[self.row_of_clip[clip.key]]
        return rows


@dataclass(frozen=True)
class ClipReader:
    """Inputs of a network from a clip.

    Attributes:
        files: of the clips' frames.
        hears: whether batches hold acoustic frames.
        view: how pictures are seen in training; None: they are not.
        whole_view: how they are seen in evaluation; None: they are not.
        embeddings: in place of pictures.
    """

    files: ClipFiles
    hears: bool
    view: ImageView | None = None
    whole_view: ImageView | None = None
    embeddings: FixedEmbeddings | None = None

    def frame(self, clip: Clip, frame: int, seed: int) -> dict[str, NDArray[Any]]:
        """An acoustic frame, 0 to 55, and the image of its second."""
        arrays: dict[str, NDArray[Any]] = {"label": np.array(clip.label)}
        second = second_of_frame(frame)
        if self.hears:
            arrays["acoustic"] = self.files.acoustic(clip)[frame]
        if self.view is not None:
            arrays["image"] = self.view(self.files.picture(clip, second), seed)
        if self.embeddings is not None:
            arrays["embedding"] = self.embeddings.of_clip(clip)[second]
        return arrays

    def whole(self, clip: Clip) -> dict[str, NDArray[Any]]:
        """All frames and pictures of a clip."""
        arrays: dict[str, NDArray[Any]] = {"label": np.array(clip.label)}
        if self.hears:
            arrays["acoustic"] = self.files.acoustic(clip)
        if self.whole_view is not None:
            view = self.whole_view
            arrays["image"] = np.stack([view(self.files.picture(clip, second), 0) for second in range(CLIP_SECONDS)])
        if self.embeddings is not None:
            arrays["embedding"] = self.embeddings.of_clip(clip)
        return arrays


class FrameBatches(ShuffledBatches):
    """The training batches: pairs of an acoustic frame and the picture of its second (section 2.2.1).

    Args:
        clips: of the training part.
        reader: what is read of them.
        frames_of_clip: number of frames drawn from each clip, others in each epoch; 0: all.
        layout, seed, part: see `ShuffledBatches`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        reader: ClipReader,
        layout: BatchLayout,
        *,
        frames_of_clip: int,
        seed: int,
        **part: Unpack[Part],
    ) -> None:
        self.drawn = min(frames_of_clip or FRAMES_OF_CLIP, FRAMES_OF_CLIP)
        super().__init__(len(clips) * self.drawn, layout, seed=seed, **part)
        self.clips = clips
        self.reader = reader

    @override
    def make(self, order: NDArray[np.int64], positions: range, epoch: int) -> dict[str, Any]:
        try:
            return stacked([self._item(int(order[i]), epoch) for i in positions])
        except OSError as error:
            folder = self.reader.files.folder
            raise UserError(
                f"a clip's frames in {folder} can't be read any more: {error}; restore it and rerun with --resume"
            ) from error

    def _item(self, item: int, epoch: int) -> tuple[str, dict[str, NDArray[Any]]]:
        number, draw = divmod(item, self.drawn)
        clip = self.clips[number]
        frame = draw
        if self.drawn < FRAMES_OF_CLIP:
            drawing = np.random.default_rng(derived_seed(self.seed, f"{epoch}/{clip.key}/frames"))
            frame = int(drawing.permutation(FRAMES_OF_CLIP)[draw])
        key = f"{clip.key}/{frame}"
        return key, self.reader.frame(clip, frame, sample_seed(self.seed, epoch, key))


def stacked(items: Sequence[tuple[str, Mapping[str, NDArray[Any]]]]) -> dict[str, Any]:
    """Named arrays of several items → "keys" and tensors with a row for each."""
    names = items[0][1]
    tensors = {name: torch.from_numpy(np.stack([arrays[name] for _, arrays in items])) for name in names}
    return {"keys": [key for key, _ in items], **tensors}


class PassesOverClips(Passes[Clip]):
    """Whole clips in their order."""

    def __init__(self, clips: Sequence[Clip], reader: ClipReader, *, batch_size: int) -> None:
        super().__init__(clips, batch_size=batch_size)
        self.reader = reader

    @override
    def make(self, items: Sequence[Clip]) -> dict[str, Any]:
        return stacked([(clip.key, self.reader.whole(clip)) for clip in items])


class WholeClips(OwnShare[Clip]):
    """This process's share of whole clips.

    Args:
        clips: of all processes.
        reader: what is read of them.
        batch_size: clips at once.
        workers: loader processes of this process.
    """

    def __init__(self, clips: Sequence[Clip], reader: ClipReader, *, batch_size: int, workers: int) -> None:
        super().__init__(clips, lambda own: PassesOverClips(own, reader, batch_size=batch_size), workers=workers)
