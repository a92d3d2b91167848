"""Small scene data sets for tests: folders of class folders whose images differ in colour, and a network to match."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from downstream.benchmarks import defaults_of
from downstream.scenes.folder import FOLDER
from downstream.scenes.job import SceneJob
from downstream.scenes.kind import SceneSettings
from pretrain.encoders.encoder import Encoder
from pretrain.preemption import PreemptionWatch
from pretrain.weights.encoder_weights import LoadedEncoder

COLOURS = {"field": (60, 200, 60), "roof": (60, 60, 200), "water": (200, 90, 30)}
"""Blue, green and red, as OpenCV writes them."""


def write_scenes(root: Path, images_of_class: int = 12, *, noise: float = 40.0, side: int = 40) -> Path:
    """Three classes of noisy images around a colour each."""
    generator = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir(parents=True)
        for i in range(images_of_class):
            # Each image has a tint of its own, so that images of a class differ in their mean.
            pixels = np.array(colour) + generator.normal(0, noise, 3) + generator.normal(0, noise, (side, side, 3))
            cv2.imwrite(str(root / name / f"{name}_{i:03d}.png"), pixels.clip(0, 255).astype(np.uint8))
    return root


class SmallEncoder(Encoder):
    """Two convolutions, which tell colours."""

    num_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=4)
        self.layer4 = nn.Conv2d(8, 8, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def feature_map(self, inputs: Tensor) -> Tensor:
        return self.layer4(self.conv1(inputs).relu()).relu()

    def forward(self, inputs: Tensor) -> Tensor:
        return self.avgpool(self.feature_map(inputs)).flatten(1)

    def layers(self) -> list[list[str]]:
        return [["conv1.weight", "conv1.bias"], ["layer4.weight", "layer4.bias"]]


def small_encoder(seed: int = 0) -> LoadedEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LoadedEncoder(SmallEncoder(), 8, "small", "random", report=f"small, seed {seed}")


def settings_of(protocol: str, root: Path, out: Path, **changes: Any) -> SceneSettings:
    """A protocol's settings for the three colours, resolved, with nothing in other processes."""
    base = dataclasses.replace(
        defaults_of("folder", protocol), root=root, out=out, batch_size=6, image_size=32, workers=0, threads=1
    )
    return dataclasses.replace(base, precision="fp32", tracker="none", head_on="trunk", **changes)


def small_job(settings: SceneSettings, accelerator: Any = None, *, resume: bool = False) -> SceneJob:
    """A job on such a folder; by default without an accelerator, for protocols that don't train."""
    return SceneJob(
        FOLDER,
        settings,
        accelerator or SimpleNamespace(device=torch.device("cpu"), print=lambda *_: None),
        PreemptionWatch(),
        FOLDER.load(settings.root, allow_partial=False),
        small_encoder(settings.seed),
        [],
        resume,
    )
