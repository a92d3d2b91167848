"""`config.json` of a model: everything needed to build the towers and to prepare their inputs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from shards.front_ends import front_end_name
from shards.raster_settings import RasterSettings
from shards.records import Finite, record_as
from shards.schema import SpectrogramSettings

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CENTRAL_FRACTION = 0.75
"""Side of the central crop used in evaluation, as a fraction of the stored image's shorter side."""


Deviation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A standard deviation, by which inputs are divided."""


@dataclass(frozen=True)
class ImageNormalisation:
    """The part of a config that is read beside a file of an image encoder's weights."""

    image_mean: tuple[Finite, Finite, Finite]
    image_std: tuple[Deviation, Deviation, Deviation]


@dataclass(frozen=True)
class TwoTowerConfig:
    """Everything needed to build the towers and to prepare their inputs.

    Attributes:
        image_encoder: encoder of the image tower, a name in `ENCODERS`.
        sound_encoder: encoder of the sound tower, a name in `ENCODERS`.
        embedding_dim: dimensions of the embedding space.
        norm: "batch", "sync" or "group".
        on_sphere: whether embeddings are scaled to length 1.
        image_size: side of the input image, in pixels.
        image_mean, image_std: mean and standard deviation of the red, green and blue channels, on values in [0, 1].
        num_frames: frames of a sound crop.
        sound_pooling: factor of average pooling in time and mel before the sound encoder.
        spectrogram_mean, spectrogram_std: mean and standard deviation of the stored bytes, in [0, 255].
        spectrogram: how the spectrograms were computed and what their bytes encode.
        rasters: how rasters became RGB, and which part of an image was stored.
        head_hidden: units of the projections' hidden layer; 0: they are linear.
        image_encoder_config, sound_encoder_config: see `Encoder.config`.
        sound_trained: whether the method that produced the weights trains the sound tower; if not, images and sounds
            can't be compared.
    """

    image_encoder: str = "resnet18"
    sound_encoder: str = "resnet18"
    embedding_dim: Annotated[int, Field(ge=1, le=2**16)] = 128
    norm: Literal["batch", "sync", "group"] = "batch"
    on_sphere: bool = False
    image_size: Annotated[int, Field(ge=1, le=2**13)] = 192
    image_mean: tuple[Finite, Finite, Finite] = IMAGENET_MEAN
    image_std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD
    num_frames: Annotated[int, Field(ge=1, le=2**17)] = 128
    sound_pooling: Annotated[int, Field(ge=1, le=16)] = 1
    spectrogram_mean: Finite = 127.5
    spectrogram_std: Deviation = 50.0
    spectrogram: SpectrogramSettings = dataclasses.field(default_factory=SpectrogramSettings)
    sound_trained: bool = True
    head_hidden: Annotated[int, Field(ge=0, le=2**16)] = 0
    image_encoder_config: dict[str, Any] | None = None
    sound_encoder_config: dict[str, Any] | None = None
    rasters: RasterSettings = dataclasses.field(default_factory=RasterSettings)

    def to_dict(self) -> dict[str, Any]:
        """The config for a model folder; what came after format version 1 is omitted where it has no effect."""
        later = ("head_hidden", "image_encoder_config", "sound_encoder_config", "rasters")
        values = {**dataclasses.asdict(self), "spectrogram": self.spectrogram.to_dict()}
        values["rasters"] = self.rasters.to_dict() if self.rasters != RasterSettings() else None
        return {name: value for name, value in values.items() if name not in later or value}

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, where: str = "config") -> TwoTowerConfig:
        """Returns the config from a dictionary as `to_dict` writes it to a model folder.

        Args:
            values: the dictionary.
            where: the file it was read from, for messages.

        Raises:
            UserError: it is not such a config; names the first wrong value.
        """
        return record_as(cls, {**values, "rasters": values.get("rasters") or {}}, where)


def _raster_preprocessing(rasters: RasterSettings) -> dict[str, Any]:
    """How a raster becomes the stored image, of which evaluation takes the central part."""
    scale = "2nd to 98th percentile of the three bands of the image, to 0 to 255"
    if rasters.scale_range is not None:
        scale = "{:g} to {:g}, to 0 to 255".format(*rasters.scale_range)
    return {
        "raster_bands": list(rasters.bands),
        "raster_scale": f"{scale}{'' if rasters.maps_8_bits else '; 8-bit values as they are'}",
        "raster_north": "up",
        "stored_part": f"central square; of those above {rasters.max_whole_side} pixels its central half",
    }


WINDOWS = {
    "hann-normalised": "periodic Hann, divided by its sum",
    "hann-periodic": "periodic Hann",
    "hann-symmetric": "symmetric Hann, in the middle of the Fourier transform",
}
"""Windows by their names in the settings."""

FILTERS = {"peak": "triangles of peak 1", "area": "triangles of area 1 in Hz"}
"""Mel filters by their norms in the settings."""

PRE_EMPHASES = {
    "waveform": "y[t] = x[t + 1] - {p} x[t]",
    "frame": "in each frame, after its mean is subtracted: y[t] = x[t] - {p} x[t - 1]",
}
"""Pre-emphasis by what it is applied to."""


def preprocessing(config: TwoTowerConfig) -> dict[str, Any]:
    """Describes, for users without Earshot, how to prepare images and sounds and how to compare embeddings.

    It is derived from the other fields of `config.json` and from `pretrain.data.image_transforms.evaluation_image` and
    `shards.decoding.spectrogram`; null marks what the source of the training data has not published.
    """
    spectrogram = config.spectrogram
    is_known = spectrogram.is_published
    return {
        "image": {
            "channels": "RGB",
            **_raster_preprocessing(config.rasters),
            "central_fraction_of_shorter_side": CENTRAL_FRACTION,
            "resize_to_pixels": [config.image_size, config.image_size],
            "whole_up_to_pixels": config.rasters.max_whole_side,
            "interpolation": "area; bilinear where the crop is smaller than that",
            "scale": "pixels / 255",
            "mean": list(config.image_mean),
            "std": list(config.image_std),
        },
        "sound": {
            "channels": "mono",
            "sample_rate_hz": spectrogram.sample_rate_hz,
            "front_end": front_end_name(spectrogram),
            "pre_emphasis": (
                PRE_EMPHASES[spectrogram.pre_emphasis_of].format(p=spectrogram.pre_emphasis)
                if spectrogram.pre_emphasis
                else None
            ),
            "window": WINDOWS[spectrogram.window] if is_known else None,
            "window_samples": spectrogram.window_samples,
            "fft_samples": spectrogram.fft_samples or spectrogram.window_samples,
            "hop_samples": spectrogram.hop_samples,
            "padding": ("reflection" if spectrogram.is_centred else "none") if is_known else None,
            "power": 2 if is_known else None,
            "mel_bands": spectrogram.mel_bands,
            "mel_scale": spectrogram.mel_scale,
            "mel_filters": FILTERS[spectrogram.mel_norm] if is_known else None,
            "mel_low_hz": spectrogram.low_hz if is_known else None,
            "mel_high_hz": spectrogram.top_hz if is_known else None,
            "added_power": spectrogram.added_power if is_known else None,
            "smallest_power": spectrogram.smallest_power if is_known else None,
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
