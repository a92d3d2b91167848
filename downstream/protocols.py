"""How a benchmark is run: the published protocol, a recipe to defend, and three on frozen features."""

from __future__ import annotations

from dataclasses import replace

from downstream.settings import DownstreamSettings
from pretrain.run_settings import OptimizerSettings, ValidationSettings

PAPER = DownstreamSettings()
"""SoundingEarth, section V-A: Adam 1e-3, 5 epochs, no schedule, no augmentation; the test part after each epoch."""

TUNED = replace(
    PAPER,
    protocol="tuned",
    epochs=50,
    optimizer=OptimizerSettings(
        name="adamw", learning_rate=1e-3, weight_decay=0.05, warmup_epochs=3.0, max_gradient_norm=5.0
    ),
    validation=ValidationSettings(patience_epochs=10),
)
"""Fine-tuning as one would defend it to a reviewer; what it searches is in `downstream.tasks.tuned`."""

FEW_SHOT = replace(PAPER, protocol="few-shot", num_seeds=10)
"""Five images a class are few: more draws than elsewhere, for a mean that can be compared."""

FROZEN_PROTOCOLS = ("linear", "knn", "few-shot")
"""Those that leave the trunk as it is; what they choose from is in `downstream.tasks.frozen`."""

PROTOCOLS: dict[str, DownstreamSettings] = {
    "paper": PAPER,
    "tuned": TUNED,
    "linear": replace(PAPER, protocol="linear"),
    "knn": replace(PAPER, protocol="knn"),
    "few-shot": FEW_SHOT,
}
"""The defaults of each protocol, which the command line may change."""
