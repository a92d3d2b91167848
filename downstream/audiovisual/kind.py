"""Audiovisual scene recognition on frozen embeddings: its settings and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from downstream.audiovisual import tables
from downstream.kinds import Kind
from downstream.protocols import BenchmarkProtocol
from downstream.settings import BandSettings, DownstreamSettings
from shards.errors import UserError


@dataclass(frozen=True)
class PairSettings(DownstreamSettings):
    """Settings of a benchmark of labelled image/sound pairs."""

    split: Literal["stratified", "grouped"] = "stratified"
    """How pairs are split: stratified (by clip, as SoundingEarth's authors did) or grouped (by location, so that no
    recording is in two splits)."""


@dataclass(frozen=True)
class AudiovisualSettings(PairSettings, BandSettings):
    """Settings of logistic regression on the embeddings of both towers."""

    penalty: Literal["auto", "l2", "none"] = "auto"
    """Penalty of the regression under protocol paper: l2 (with C = 1) or none; auto: none for embeddings on the unit
    sphere (contrastive losses), else l2, as SoundingEarth's authors did."""
    force: bool = False
    """Use the sound tower even if the settings of the spectrograms it was trained on are not published: clips are
    computed by Earshot's own, and their scale is converted to the one it learned from."""

    @override
    def check(self) -> None:
        super().check()
        if self.protocol != "paper" and self.penalty != "auto":
            raise UserError(
                f"penalty has no effect under {self.protocol}, which chooses the strength of an l2 penalty on the "
                f"validation part, got {self.penalty}; omit it"
            )

    @property
    @override
    def needs_known_spectrograms(self) -> bool:
        return not self.force


AUDIOVISUAL = Kind(
    name="audiovisual",
    title="audiovisual scene recognition",
    protocols=(
        BenchmarkProtocol(
            AudiovisualSettings(),
            "as SoundingEarth published it: whole images and sounds, plain logistic regression on embeddings",
            trains=False,
        ),
        BenchmarkProtocol(
            AudiovisualSettings(protocol="tuned"),
            "central images, 5 crops of a sound, standardised embeddings, penalty chosen on a validation part",
            trains=False,
        ),
    ),
    reporting=tables.AUDIOVISUAL,
    checker="downstream.audiovisual.running:check_audiovisual",
    runner="downstream.audiovisual.running:run_audiovisual",
)
