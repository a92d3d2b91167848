"""Settings of the transfer of sound events to scenes: loss, teacher, modality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from pretrain.encoders import ENCODERS
from pretrain.settings.rules import CountOrZero, NonNegative, OneOf
from shards.errors import UserError

TransferLoss = Literal["none", "kl-audio", "kl-joint", "sq-audio", "sq-joint", "events"]
Modality = Literal["both", "image", "sound"]

SOUND_STRIDE: Literal[2] = 2
"""Of torchvision's first convolution."""


@dataclass(frozen=True)
class HearingSettings:
    """How sounds are read, and which columns of metadata.csv label them."""

    sound_stride: Literal[0, 1, 2] = 0
    """Stride of the sound encoder's first convolution: 1 in the authors' AudioSet weights; 0: the teacher's where its
    config.json names it, else torchvision's 2."""
    num_frames: Annotated[int, Field(ge=32, description="frames of 25 ms")] = 400
    """Frames of 25 ms that the network gets: the middle of a longer sound; a shorter one is repeated."""
    label_column: str = "scene"
    """Of a root with metadata.csv: the column that names the scene."""
    group_column: str = "recording"
    """Of a root with metadata.csv: pairs with the same value in it never lie in two parts of a grouped split."""
    event_column: str = "description"
    """Of a root with metadata.csv: the column that names the sound event, which sound-events learns."""


@dataclass(frozen=True)
class TransferSettings(HearingSettings):
    """The loss, its teacher and the modality (Hu et al., ECCV 2020)."""

    loss: TransferLoss = "events"
    """The transfer loss: none; binary KL (kl) or squared distance (sq) between the teacher's sound events and those
    predicted from the sound (audio) or from image and sound (joint); or between the teacher's and those of the
    predicted scene (events)."""
    with_scene_loss: bool = True
    """Also learn from the labels of the scenes."""
    alpha: NonNegative = 0.1
    """Weight of the transfer loss beside the scene loss; alone it has none."""
    beta: NonNegative = 0.001
    """Weight of L_E2 in the loss `events`; 0 leaves L_E1."""
    over_events: Literal["sum", "mean"] = "sum"
    """Reduction of a transfer loss over the events: sum, as in the paper; mean, as in its authors' code."""
    modality: Modality = "both"
    """Inputs of the networks; an input that is left out is set to zero."""
    teacher: Path | None = None
    """The --out of sound-events, or a file of a sound ResNet with torchvision's names; the sound encoder is initialised
    from it."""
    num_events: CountOrZero = 0
    """Outputs that the teacher must have, such as AudioSet's 527; 0 accepts any number."""
    sound_backbone: Annotated[str, OneOf(ENCODERS, "auto")] = "auto"
    """The sound encoder where there is no teacher, a name in ENCODERS; auto: resnet50."""

    def check(self) -> None:
        """Checks the rules between settings.

        Raises:
            UserError: names the setting, its value and its rule.
        """
        if self.loss == "none" and not self.with_scene_loss:
            raise UserError(
                "transfer.loss none goes with the scene loss, else nothing is learned; take another --transfer.loss, "
                "or leave out --transfer.no-with-scene-loss"
            )
        if self.loss != "none" and self.teacher is None:
            raise UserError(
                f"transfer.loss {self.loss} needs transfer.teacher: train one by `downstream/run.py sound-events`, or "
                "give a file of weights"
            )
        if self.loss.endswith("audio") and self.modality == "image":
            raise UserError(
                f"transfer.loss {self.loss} predicts events from the sound, which transfer.modality image sets to "
                f"zero; take {self.loss.replace('audio', 'joint')}"
            )
        if self.num_events and self.teacher is None:
            raise UserError(f"transfer.num_events is the teacher's, got {self.num_events} and no transfer.teacher")


def approach_of(settings: Any) -> str:
    """A run's losses by the paper's names, such as "L_s + L_E", as tables show them.

    L_s† is L_s where every encoder that the modality uses begins from random weights.

    Args:
        settings: of the whole run, a TransferRunSettings.
    """
    transfer: TransferSettings = settings.transfer
    if transfer.loss == "none":
        random_trunks = {"image": settings.weights == "random", "sound": transfer.teacher is None}
        used = random_trunks.values() if transfer.modality == "both" else [random_trunks[transfer.modality]]
        return "L_s†" if all(used) else "L_s"
    name = TRANSFER_NAMES[transfer.loss] if transfer.loss != "events" or transfer.beta else "L_E1"
    return f"L_s + {name}" if transfer.with_scene_loss else f"{name} alone"


TRANSFER_NAMES: dict[str, str] = {
    "sq-audio": "L_SQ (N_a)",
    "sq-joint": "L_SQ (N_v+a)",
    "kl-audio": "L_KL (N_a)",
    "kl-joint": "L_KL (N_v+a)",
    "events": "L_E",
}
"""The paper's names of the transfer losses, in the order of its tables."""

APPROACHES: tuple[str, ...] = (
    *("L_s†", "L_s"),
    *(f"L_s + {name}" for name in (*TRANSFER_NAMES.values(), "L_E1")),
    *(f"{name} alone" for name in ("L_E1", *TRANSFER_NAMES.values())),
)
"""All that tables may show, in their order."""
