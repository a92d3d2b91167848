"""Stored spectrograms: values as bytes, and repetition to a minimum length."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shards.schema import MIN_FRAMES, SpectrogramScale


def encode_scale(values: npt.NDArray[np.floating], scale: SpectrogramScale) -> npt.NDArray[np.uint8]:
    """Encodes values as bytes on `scale`, in the same shape; values outside the scale become 0 or 255."""
    return np.clip(np.rint((values - scale.low) * (255.0 / (scale.high - scale.low))), 0, 255).astype(np.uint8)


def repeat_to_length(spectrogram: npt.NDArray[np.uint8], min_frames: int = MIN_FRAMES) -> npt.NDArray[np.uint8]:
    """Repeats a short spectrogram along time to exactly `min_frames`, as ADVANCE does; longer ones are unchanged.

    Args:
        spectrogram: uint8 of shape (mel bands, frames), frames ≥ 1.
        min_frames: minimum number of frames.

    Returns:
        uint8 of shape (mel bands, max(frames, min_frames)), Fortran order.

    Raises:
        ValueError: the spectrogram has no frames.
    """
    num_frames = spectrogram.shape[1]
    if num_frames == 0:
        raise ValueError("a spectrogram without frames can't be repeated to length")
    if num_frames >= min_frames:
        return np.asfortranarray(spectrogram)
    return np.take(spectrogram.T, np.arange(min_frames) % num_frames, axis=0).T
