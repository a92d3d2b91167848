"""Trunks that turn an image or a spectrogram into one feature vector, by name."""

from __future__ import annotations

from pretrain.encoders.resnet import Encoder, resnet18, resnet50

ENCODERS: dict[str, Encoder] = {"resnet18": resnet18, "resnet50": resnet50}
