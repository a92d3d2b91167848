"""How a benchmark is run: the published protocol, a recipe to defend, and three on frozen features."""

from __future__ import annotations

from dataclasses import replace

from downstream.settings import DownstreamSettings
from pretrain.settings.training import OptimizerSettings, ValidationSettings

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
"""Fine-tuning as one would defend it to a reviewer; what it searches is in `downstream.scenes.tuned`."""

FEW_SHOT = replace(PAPER, protocol="few-shot", num_seeds=10)
"""Five images a class are few: more draws than elsewhere, for a mean that can be compared."""

FROZEN_PROTOCOLS = ("linear", "knn", "few-shot")
"""Those that leave the encoder as it is; what they choose from is in `downstream.scenes.frozen`."""

PROTOCOLS: dict[str, DownstreamSettings] = {
    "paper": PAPER,
    "tuned": TUNED,
    "linear": replace(PAPER, protocol="linear"),
    "knn": replace(PAPER, protocol="knn"),
    "few-shot": FEW_SHOT,
}
"""The defaults of each protocol, which the command line may change."""

SOUND_EVENTS = replace(
    PAPER, batch_size=64, epochs=30, split="grouped", validation=ValidationSettings(patience_epochs=5)
)
"""A tagger of sound events by our own recipe: SoundingEarth's Adam, and the epoch that does best in validation.

As many seeds as advance-transfer: each pupil has a teacher that has heard none of its test sounds."""

ADVANCE_TRANSFER = replace(
    SOUND_EVENTS,
    optimizer=replace(PAPER.optimizer, learning_rate=1e-5, weight_decay=1e-4),
)
"""Hu et al., ECCV 2020, section 5.1; batch and patience are those of its authors' code, the paper gives none."""

TAU_SCENES = replace(
    PAPER,
    epochs=150,
    num_seeds=1,
    optimizer=OptimizerSettings(
        name="sgd",
        learning_rate=1e-2,
        momentum=0.9,
        warmup_epochs=0.0,
        final_fraction=1e-3,
        restart_epochs=10.0,
        restart_growth=2.0,
    ),
)
"""Chen et al. (2022), section 3.2. Ours, for it names none: the momentum, 0.9, and periods of 10, 20, 40 and 80 epochs,
which make up its 150."""

PAPER_OF_BENCHMARK: dict[str, DownstreamSettings] = {
    "advance-transfer": ADVANCE_TRANSFER,
    "sound-events": SOUND_EVENTS,
    "tau-scenes": TAU_SCENES,
    "demo-tau": TAU_SCENES,
}
"""The defaults of the protocol `paper` on benchmarks that other papers published."""


def defaults_of(benchmark: str, protocol: str) -> DownstreamSettings:
    """What a protocol's settings on a benchmark are, before the command line changes them."""
    if protocol == "paper" and benchmark in PAPER_OF_BENCHMARK:
        return PAPER_OF_BENCHMARK[benchmark]
    return PROTOCOLS[protocol]
