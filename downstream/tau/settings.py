"""The settings of audiovisual scene classification on TAU's clips: which strategy, which features, which frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pretrain.settings.rules import Rule
from shards.errors import UserError

Strategy = Literal["audio", "video", "pipeline", "pipeline-trainable", "joint-pretrained", "joint"]
Features = Literal["scalogram", "fbank"]


@dataclass(frozen=True)
class TauSettings:
    """Only of tau-scenes and demo-tau."""

    strategy: Strategy = "joint"
    """audio, video: one modality. pipeline: image embeddings and acoustic encoder fixed; joint: augmented images, the
    acoustic encoder in training; pipeline-trainable, joint-pretrained: the other two of Table 4."""
    features: Features = "scalogram"
    """What is heard: wavelet filters (scalogram) or mel filters (fbank) on 512-ms spectra."""
    visual: Literal["trunk", "efficientnet-v2-s"] = "trunk"
    """The image encoder: that of --weights (trunk; for random and imagenet weights a ResNet-18, the paper's is
    --backbone resnet50), or EfficientNetV2-S with --weights random, imagenet or a file."""
    acoustic_run: Path | None = None
    """A finished run of strategy audio, for strategies with a pre-trained acoustic encoder; else one is trained first,
    in OUT/acoustic."""
    cache: Path | None = None
    """The folder for decoded frames, which runs may share; OUT/frames where it is not given."""
    frame_side: Annotated[int, Rule(lambda side: side == 0 or side >= 32, "0 or >= 32 pixels")] = 480
    """The shorter side, in pixels, at which frames of a video are kept; 0 keeps them as they are."""
    train_frames: Annotated[int, Field(ge=0, description="0 takes all")] = 0
    """Acoustic frames that an epoch draws from each training clip; 0 takes all 56."""
    val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of each class's training clips that is set aside to choose the best epoch by."""
    val_by: Literal["clip", "location"] = "clip"
    """clip: drawn clip by clip, as the paper says; location: no place lies on both sides."""

    @property
    def hears(self) -> bool:
        """Whether the strategy uses sound."""
        return self.strategy != "video"

    @property
    def sees(self) -> bool:
        """Whether the strategy uses images."""
        return self.strategy != "audio"

    @property
    def sees_embeddings(self) -> bool:
        """Whether images are embedded once and for all, without augmentation (Table 4, I and II)."""
        return self.strategy in ("pipeline", "pipeline-trainable")

    @property
    def acoustic_is_pretrained(self) -> bool:
        """Whether the acoustic encoder is a run's of strategy audio and stays as it is (Table 4, I and III)."""
        return self.strategy in ("pipeline", "joint-pretrained")

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.acoustic_run is not None and not self.acoustic_is_pretrained:
            raise UserError(
                f"tau.acoustic_run has no effect under tau.strategy {self.strategy}, which trains its acoustic encoder "
                "or has none; omit it"
            )
