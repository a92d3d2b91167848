"""Scene recognition: its protocols and their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import override

from downstream.kinds import Kind
from downstream.protocols import BenchmarkProtocol
from downstream.scenes import tables
from downstream.settings import BandSettings, SeededSettings
from pretrain.settings.rules import CountOrZero
from pretrain.settings.training import OptimizerSettings, ValidationSettings
from shards.errors import UserError

HeadOn = Literal["auto", "embedding", "trunk"]


@dataclass(frozen=True)
class SceneSettings(BandSettings, SeededSettings):
    """Settings of scene recognition."""

    head_on: HeadOn = "auto"
    """Where the head sits: the embedding, or the encoder's features (trunk); auto: under paper the embedding where
    the weights have one, else the features."""
    train_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each class that trains (the rest tests); 0: the protocol's own split."""
    explain: CountOrZero = 0
    """Number of test images to draw class activation maps for."""

    @override
    def check(self) -> None:
        super().check()
        if self.protocol != "paper" and self.head_on == "embedding":
            raise UserError(
                f"head_on embedding needs protocol paper, got {self.protocol}, which compares weights by their encoders"
            )
        if self.protocol == "few-shot" and self.train_fraction:
            raise UserError(f"train_fraction has no effect under few-shot, got {self.train_fraction}; omit it")


SCENES = Kind(
    name="scenes",
    title="scene recognition",
    protocols=(
        BenchmarkProtocol(
            SceneSettings(),
            "as SoundingEarth published it: Adam 1e-3, 5 epochs, no schedule, no augmentation",
            can_train_further=True,
            runner="downstream.scenes.published:run_published",
        ),
        BenchmarkProtocol(
            SceneSettings(
                protocol="tuned",
                epochs=50,
                optimizer=OptimizerSettings(
                    name="adamw", learning_rate=1e-3, weight_decay=0.05, warmup_epochs=3.0, max_gradient_norm=5.0
                ),
                validation=ValidationSettings(patience_epochs=10),
            ),
            "a full fine-tuning recipe with a search of the learning rate, on the usual splits",
            runner="downstream.scenes.tuned:run_tuned",
        ),
        BenchmarkProtocol(
            SceneSettings(protocol="linear"),
            "logistic regression on frozen features",
            is_resumable=False,
            trains=False,
            runner="downstream.scenes.frozen:run_frozen",
        ),
        BenchmarkProtocol(
            SceneSettings(protocol="knn"),
            "nearest neighbours on frozen features",
            is_resumable=False,
            trains=False,
            runner="downstream.scenes.frozen:run_frozen",
        ),
        BenchmarkProtocol(
            # With only five images per class, more splits than elsewhere are needed for a comparable mean.
            SceneSettings(protocol="few-shot", num_seeds=10),
            "nearest centroid of 5 images per class, on frozen features",
            is_resumable=False,
            trains=False,
            runner="downstream.scenes.frozen:run_frozen",
        ),
    ),
    reporting=tables.SCENES,
    checker="downstream.scenes.job:check_scenes",
    runner="downstream.scenes.running:run_scenes",
)
