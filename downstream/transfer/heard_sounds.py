"""Sound files as one array of log-mel spectrograms, decoded once and kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from downstream.running.corrupt import refuse_corrupt
from pretrain import distributed
from pretrain.data.audio_transforms import spread_crop_starts
from pretrain.precision import autocast
from shards.checksums import file_sha256
from shards.decoding.audio_decoding import decode_recording
from shards.decoding.spectrogram import repeat_to_length
from shards.errors import RejectedPair
from shards.progress import ProgressLine
from shards.schema import SpectrogramSettings

MEL_BANDS = 64

SPECTROGRAM = SpectrogramSettings(mel_bands=MEL_BANDS, is_centred=True)
"""16 kHz, window 1024, hop 400, 64 mel bands, log (Hu et al., ECCV 2020, section 5.1).

Frames are centred, which the paper does not say: 10 s then have 401, whose first 400 are its T = 400. Whole windows
alone would be 398, and two would be repeated.
"""


@dataclass(frozen=True)
class HeardSounds:
    """Spectrograms of sounds.

    Attributes:
        row: of each sound's key.
        spectrograms: (n, frames, bands) uint8, time first, as the paper's T × F; 25.6 KB a sound of 400 frames.
    """

    row: dict[str, int]
    spectrograms: NDArray[np.uint8]

    def rows(self, keys: Sequence[str]) -> list[int]:
        """Of several sounds."""
        return [self.row[key] for key in keys]

    def tensor(self, keys: Sequence[str]) -> Tensor:
        """(n, frames, bands) uint8."""
        return torch.from_numpy(self.spectrograms[self.rows(keys)])

    def statistics(self, keys: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each band over the frames of these sounds, (bands,) float32 each."""
        own = self.spectrograms[self.rows(keys)]
        mean = own.mean((0, 1), dtype=np.float64)
        squares = sum(np.square(sound, dtype=np.float64).sum(0) for sound in own)
        variance = np.asarray(squares) / (own.shape[0] * own.shape[1]) - np.square(mean)
        # A band in which nothing changes is 0 whatever it is divided by; a byte is the smallest step there is.
        std = np.sqrt(np.maximum(variance, 1.0))
        return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std.astype(np.float32))


def hear(
    sounds: Sequence[tuple[str, Path]], num_frames: int, *, threads: int, max_corrupt: float
) -> tuple[HeardSounds, list[str]]:
    """Decodes sounds; several processes share the work, and each gets all of the result.

    Args:
        sounds: (key, file) of each.
        num_frames: that are kept: the middle of a longer sound; a shorter one is repeated.
        threads: of this process.
        max_corrupt: the largest share of sounds that may be undecodable.

    Returns:
        Those that can be decoded, and a sentence for each of the others.

    Raises:
        UserError: more than a share `max_corrupt` can't be decoded; names the first.
    """
    own = sounds[distributed.rank() :: distributed.num_processes()]
    kept, faults, heard = [], [], [np.empty((0, num_frames, MEL_BANDS), np.uint8)]
    with (
        ProgressLine("hearing", len(own), enabled=distributed.is_first()) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):
        for (key, _), found in zip(own, pool.map(partial(_spectrogram, num_frames), own), strict=True):
            progress.advance()
            if isinstance(found, str):
                faults.append(f"{key}: {found}")
            else:
                kept.append(key)
                heard.append(found[None])
    parts = distributed.gather_objects((kept, np.concatenate(heard), faults))
    keys = [key for part in parts for key in part[0]]
    faults = sorted(fault for part in parts for fault in part[2])
    refuse_corrupt(faults, len(sounds), "sounds", max_corrupt)
    return HeardSounds({key: row for row, key in enumerate(keys)}, np.concatenate([part[1] for part in parts])), faults


def _spectrogram(num_frames: int, sound: tuple[str, Path]) -> NDArray[np.uint8] | str:
    """(frames, bands), or a description of the file's fault."""
    try:
        recording = decode_recording(sound[1], SPECTROGRAM, with_preview=False)
    except RejectedPair as error:
        return str(error)
    whole = repeat_to_length(recording.spectrogram, num_frames)
    (start,) = spread_crop_starts(whole.shape[1], num_frames, 1)
    return np.ascontiguousarray(whole[:, start : start + num_frames].T)


@cache
def fingerprint(sound: Path) -> str:
    """SHA-256 of a sound file, which identifies it under any name; empty if it can't be read."""
    try:
        return file_sha256(sound)
    except OSError:
        return ""


def event_answers(
    network: nn.Module,
    sounds: HeardSounds,
    keys: Sequence[str],
    *,
    batch_size: int,
    device: torch.device,
    precision: str,
) -> NDArray[np.float32]:
    """Outputs of a network for sounds; all processes call it together, and each gets all outputs.

    Args:
        network: from a batch with "sound" to "events", (n, events), in evaluation mode, on the device.
        sounds: heard.
        keys: of those that are asked for.
        batch_size: sounds at once.
        device: where the network is.
        precision: "bf16" or "fp32".

    Returns:
        (keys, events), row i of key i.

    Raises:
        FloatingPointError: an answer is not finite.
    """
    rank, world = distributed.rank(), distributed.num_processes()
    own = keys[rank::world]

    def parts() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(own), batch_size):
            batch = {"sound": sounds.tensor(own[start : start + batch_size]).to(device)}
            with torch.inference_mode(), autocast(device, precision):
                yield network(batch)["events"].float().cpu().numpy()

    found = list(parts())
    gathered = distributed.gather_objects(np.concatenate(found) if found else None)
    width = next(part.shape[1] for part in gathered if part is not None)
    whole = np.empty((len(keys), width), np.float32)
    for number, part in enumerate(gathered):
        if part is not None:
            whole[number::world] = part
    if not np.isfinite(whole).all():
        raise FloatingPointError("answers on sound events are not finite")
    return whole
