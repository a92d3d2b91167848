"""Named settings: what each is for, what it needs, and what to expect of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pretrain.config import Config, DataSettings, ModelSettings
from pretrain.run_settings import CheckpointSettings, OptimizerSettings
from shards.errors import UserError

DEMO = Config(
    epochs=16,
    batch_size=64,
    data=DataSettings(image_size=96),
    model=ModelSettings(sound_pooling=2),
    optimizer=OptimizerSettings(learning_rate=3e-4, warmup_epochs=2.0, max_gradient_norm=5.0),
    checkpoint=CheckpointSettings(every_epochs=5),
)
"""A small run for 2 CPU cores: 96-pixel images, spectrograms pooled to 64 × 64.

    accelerate launch pretrain/run.py demo
"""

SOUNDINGEARTH_RESNET18 = Config(
    shards=Path("data/soundingearth-shards"),
    out=Path("runs/soundingearth-resnet18"),
    epochs=300,
    batch_size=256,
    data=DataSettings(workers=8),
    optimizer=OptimizerSettings(learning_rate=1e-3, warmup_epochs=5.0),
)
"""The paper's recipe with ResNet-18 for both towers: Adam 1e-3, batch 256, 300 epochs, from scratch.

    accelerate launch pretrain/run.py soundingearth-resnet18 --shards SHARDS --out RUN

The paper reports recall@100 of 0.190 and a median rank of 744 among about 10,000 test pairs (Table VII).
"""

SOUNDINGEARTH_RESNET50 = replace(
    SOUNDINGEARTH_RESNET18,
    out=Path("runs/soundingearth-resnet50"),
    model=ModelSettings(image_encoder="resnet50"),
)
"""As `soundingearth-resnet18`, with ResNet-50 for the images.

    accelerate launch pretrain/run.py soundingearth-resnet50 --shards SHARDS --out RUN

The paper reports recall@100 of 0.153 and a median rank of 836 (Table VII).
"""

PRESETS: dict[str, Config] = {
    "demo": DEMO,
    "soundingearth-resnet18": SOUNDINGEARTH_RESNET18,
    "soundingearth-resnet50": SOUNDINGEARTH_RESNET50,
}


def choose(name: str, known: Iterable[str], kind: str) -> str:
    """`name`, if it is known.

    Raises:
        UserError: names the kind and the value, the nearest known name and all the choices.
    """
    choices = sorted(known)
    if name in choices:
        return name
    near = difflib.get_close_matches(name, choices, n=1)
    suggestion = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"unknown {kind} {name!r}; {suggestion}choose one of: {', '.join(choices)}")
