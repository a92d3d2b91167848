"""Image embeddings of the seconds of clips, computed once into one file, which has its name only when it is whole."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap

from downstream.tau.acoustic_features import CLIP_SECONDS
from downstream.tau.benchmark import Clip
from downstream.tau.clip_batches import ClipReader, FixedEmbeddings, WholeClips
from downstream.tau.visual_encoder import VisualEncoder
from pretrain import distributed
from pretrain.data.batches import to_device
from pretrain.precision import autocast
from shards.array_files import open_array
from shards.progress import ProgressLine

CLIPS_AT_ONCE = 8


def embed_pictures(
    encoder: VisualEncoder,
    clips: Sequence[Clip],
    reader: ClipReader,
    path: Path,
    *,
    workers: int,
    device: torch.device,
    precision: str,
) -> FixedEmbeddings:
    """Embeds the ten pictures of each clip; several processes on one file system share the work.

    They fill a file of full size under another name, a batch at a time; one that was interrupted is started over.

    Args:
        encoder: on the device.
        clips: all that will be asked for, in an order that is the same each time.
        reader: with its `whole_view`, by which the pictures are seen.
        path: of the file (clips, 10, width), float32; one that is there is taken as it is.
        workers: loader processes of this process.
        device: where the encoder is.
        precision: of its arithmetic, "bf16" or "fp32".
    """
    embeddings = FixedEmbeddings(path, {clip.key: row for row, clip in enumerate(clips)})
    shape = (len(clips), CLIP_SECONDS, encoder.num_features)
    if distributed.from_first(path.is_file() and open_array(path).shape == shape):
        return embeddings
    partial = path.with_name(f".{path.name}.partial")
    if distributed.is_first():
        open_memmap(partial, mode="w+", dtype=np.float32, shape=shape).flush()
    distributed.barrier()
    share = WholeClips(clips, reader, batch_size=CLIPS_AT_ONCE, workers=workers)
    _fill(dataclasses.replace(embeddings, path=partial), encoder, share, device, precision)
    distributed.barrier()
    if distributed.is_first():
        os.replace(partial, path)
    distributed.barrier()
    return embeddings


def _fill(
    embeddings: FixedEmbeddings, encoder: VisualEncoder, share: WholeClips, device: torch.device, precision: str
) -> None:
    """Writes the rows of this process's share into the file."""
    file: Any = open_array(embeddings.path, "r+")
    encoder.eval()
    title = "embedding pictures"
    with torch.inference_mode(), ProgressLine(title, share.num_own, enabled=distributed.is_first()) as progress:
        for batch in share.one_pass():
            images = to_device({"image": batch["image"]}, device)["image"]
            with autocast(device, precision):
                features = encoder(images.flatten(0, 1)).float().cpu().numpy()
            rows = [embeddings.row_of_clip[key] for key in batch["keys"]]
            file[rows] = features.reshape(len(rows), *file.shape[1:])
            progress.advance(len(rows))
    file.flush()
