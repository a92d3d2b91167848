"""How inputs are prepared for the towers, written out in `config.json` for readers without Earshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pretrain.model import TwoTowerConfig

CENTRAL_FRACTION = 0.75
"""Side of the view that evaluation sees, as a fraction of the stored image's shorter side."""


def preprocessing(config: TwoTowerConfig) -> dict[str, Any]:
    """All that a stranger must do to an image and a sound before the towers, and what their embeddings mean.

    It follows from the other fields of `config.json` and from `pretrain.image_transforms.evaluation_image` and
    `shards.spectrogram`; null stands for what the source of the training data has not published.
    """
    spectrogram = config.spectrogram
    is_known = spectrogram.window_samples is not None
    return {
        "image": {
            "channels": "RGB",
            "central_fraction_of_shorter_side": CENTRAL_FRACTION,
            "resize_to_pixels": [config.image_size, config.image_size],
            "interpolation": "area; bilinear where the crop is smaller than that",
            "scale": "pixels / 255",
            "mean": list(config.image_mean),
            "std": list(config.image_std),
        },
        "sound": {
            "channels": "mono",
            "sample_rate_hz": spectrogram.sample_rate_hz,
            "window": "periodic Hann, divided by its sum; no padding" if is_known else None,
            "window_samples": spectrogram.window_samples,
            "hop_samples": spectrogram.hop_samples,
            "power": 2 if is_known else None,
            "mel_bands": spectrogram.mel_bands,
            "mel_scale": spectrogram.mel_scale,
            "mel_filters": "triangles of peak 1 from 0 Hz to half the sampling rate" if is_known else None,
            "scale": spectrogram.scale.name,
            "byte_0_stands_for": spectrogram.scale.low,
            "byte_255_stands_for": spectrogram.scale.high,
            "num_frames": config.num_frames,
            "seconds": spectrogram.frames_to_seconds(config.num_frames),
            "standardisation": "(byte - mean) / std",
            "mean": config.spectrogram_mean,
            "std": config.spectrogram_std,
            "average_pooling_after": config.sound_pooling,
            "shape": [1, spectrogram.mel_bands, config.num_frames],
        },
        "embedding": {
            "dimensions": config.embedding_dim,
            "length": 1 if config.on_sphere else None,
            "compare_by": "Euclidean distance",
        },
    }
