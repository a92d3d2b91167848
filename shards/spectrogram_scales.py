"""Bytes of one spectrogram scale as bytes of another, for models that learned from other shards than they are shown.

What cannot be converted is how the spectrograms were computed: sampling rate, window, hop and mel filters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shards.errors import UserError
from shards.schema import SpectrogramScale

Values = NDArray[np.float64]

QUANTITIES: dict[str, tuple[Callable[[Values], Values], Callable[[Values], Values]]] = {
    "log-mel": (lambda values: values, lambda log_mel: log_mel),
    "exp-log-mel/10": (lambda values: 10 * np.log(values), lambda log_mel: np.exp(log_mel / 10)),
}
"""By `SpectrogramScale.name`: the natural logarithm of the mel power from the quantity, and the quantity from it."""


def converted_bytes(data: SpectrogramScale, model: SpectrogramScale) -> NDArray[np.float32]:
    """For each byte of one scale, the byte of another that encodes the same mel power.

    Args:
        data: scale of the bytes to convert.
        model: scale of the bytes that a model learned from.

    Returns:
        (256,) in [0, 255], not rounded; powers beyond the other scale's range become its ends, as by SoundingEarth's
        authors, whose code clips to it.

    Raises:
        UserError: one of the quantities is unknown.
    """
    for scale in (data, model):
        if scale.name not in QUANTITIES:
            raise UserError(
                f"spectrograms of scale {scale.name!r} can't be converted; known scales: {', '.join(QUANTITIES)}"
            )
    values = data.low + np.arange(256) * (data.high - data.low) / 255
    same = QUANTITIES[model.name][1](QUANTITIES[data.name][0](values))
    return np.clip(255 * (same - model.low) / (model.high - model.low), 0, 255).astype(np.float32)
