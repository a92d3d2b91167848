"""Trunks that turn an image or a spectrogram into one feature vector, by name."""

from __future__ import annotations

from pretrain.encoders.resnet import Encoder, resnet18, resnet50, resnet101
from pretrain.encoders.soundingearth import soundingearth_resnet18, soundingearth_resnet50

ENCODERS: dict[str, Encoder] = {
    "resnet18": resnet18,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "soundingearth-resnet18": soundingearth_resnet18,
    "soundingearth-resnet50": soundingearth_resnet50,
}
