"""Random changes of a sound crop in training: masks of frames and bands (SpecAugment), and its level."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from pretrain.data.seeds import derived_seed
from pretrain.settings.pretraining import DataSettings
from shards.errors import UserError
from shards.schema import SpectrogramSettings

LOG_POWER_PER_DB = math.log(10) / 10
"""How much the natural logarithm of a power changes by a decibel."""


class RandomSoundView:
    """Masks and level of a crop of a spectrogram; the crop itself if the settings ask for neither.

    A mask hides consecutive frames, and another consecutive bands; lengths and places are drawn uniformly, by
    torchaudio. Hidden values become the crop's mean. The level is drawn uniformly in dB, and values that leave the
    stored range are clipped.

    Source: Park et al., SpecAugment, Interspeech 2019, section 2, with one mask of each kind.

    Args:
        settings: sizes of the masks and the change of level.
        spectrogram: of the shard set.

    Raises:
        UserError: the level is to change, but what the bytes stand for is not the logarithm of a power.
    """

    def __init__(self, settings: DataSettings, spectrogram: SpectrogramSettings) -> None:
        scale = spectrogram.scale
        if settings.level_db and scale.name != "log-mel":
            raise UserError(
                f"data.level_db must be 0 with spectrograms of {scale.name}, which are not log-mel, got "
                f"{settings.level_db:g}"
            )
        self._masks = (settings.mask_bands, settings.mask_frames)
        self._level = settings.level_db * LOG_POWER_PER_DB * 255 / (scale.high - scale.low)

    def __call__(self, crop: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        """(mel bands, frames) uint8 → the same shape; `seed` fixes all that is random."""
        if not self._level and not any(self._masks):
            return crop
        values = crop.astype(np.float32)
        if self._level:
            values += np.random.default_rng((seed, 2)).uniform(-self._level, self._level)
        masked = self._masked(torch.from_numpy(values), seed) if any(self._masks) else torch.from_numpy(values)
        return masked.round().clamp(0, 255).to(torch.uint8).numpy()

    def _masked(self, values: torch.Tensor, seed: int) -> torch.Tensor:
        from torchaudio.functional import mask_along_axis  # a loader process that masks nothing does without

        mean = float(values.mean())
        # torchaudio draws from torch's state, which belongs to the training.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(seed, "masks") >> 1)
            for axis, share in enumerate(self._masks):
                most = int(share * values.shape[axis])
                if most:
                    # torchaudio's lengths are below the parameter.
                    values = mask_along_axis(values[None], most + 1, mean, axis + 1)[0]
        return values
