"""Transfer of sound events to scenes, and the sound-event taggers that teach it: two kinds of benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field

from downstream.audiovisual.kind import PairSettings
from downstream.kinds import Kind
from downstream.protocols import BenchmarkProtocol
from downstream.settings import BandSettings, SeededSettings
from downstream.transfer import tables
from downstream.transfer.settings import HearingSettings, TransferSettings
from pretrain.settings.rules import CountOrZero
from pretrain.settings.training import OptimizerSettings, ValidationSettings


@dataclass(frozen=True)
class SoundEventSettings(PairSettings, SeededSettings):
    """Sound-event taggers, one a seed."""

    transfer: HearingSettings = field(default_factory=HearingSettings)


@dataclass(frozen=True)
class TransferRunSettings(SoundEventSettings, BandSettings):
    """Networks of image and sound, one a seed (Hu et al., ECCV 2020)."""

    transfer: TransferSettings = field(default_factory=TransferSettings)
    force: bool = False
    """Accept a teacher that was trained on test sounds."""
    explain: CountOrZero = 0
    """Number of test images to draw class activation maps for."""


PATIENCE = ValidationSettings(patience_epochs=5)
"""Batch and patience are those of the code of Hu et al.; their paper gives none."""

TRANSFER = Kind(
    name="transfer",
    title="transfer of sound events",
    protocols=(
        BenchmarkProtocol(
            TransferRunSettings(
                batch_size=64,
                epochs=30,
                split="grouped",
                validation=PATIENCE,
                optimizer=OptimizerSettings(
                    learning_rate=1e-5, weight_decay=1e-4, warmup_epochs=0.0, final_fraction=1.0
                ),
            ),
            "as Hu et al. (ECCV 2020), section 5.1",
        ),
    ),
    reporting=tables.TRANSFER,
    checker="downstream.transfer.job:check_transfer",
    runner="downstream.transfer.running:run_transfer",
)

SOUND_EVENTS = Kind(
    name="sound-events",
    title="sound events",
    protocols=(
        BenchmarkProtocol(
            # As many seeds as advance-transfer: each student has a teacher that was trained on none of its test sounds.
            SoundEventSettings(batch_size=64, epochs=30, split="grouped", validation=PATIENCE),
            "our own recipe: Adam 1e-3, the best epoch in validation",
        ),
    ),
    reporting=tables.SOUND_EVENTS,
    checker="downstream.transfer.sound_events:check_sound_events",
    runner="downstream.transfer.sound_events:run_sound_events",
)
