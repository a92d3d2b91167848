"""Audiovisual scene recognition on frozen embeddings: its settings and scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from typing_extensions import override

from downstream.audiovisual import tables
from downstream.kinds import Kind
from downstream.protocols import BenchmarkProtocol
from downstream.settings import BandSettings, DownstreamSettings


@dataclass(frozen=True)
class PairSettings(DownstreamSettings):
    """Settings of a benchmark of labelled image/sound pairs."""

    split: Literal["stratified", "grouped"] = "stratified"
    """How pairs are split: stratified (by clip, as SoundingEarth's authors did) or grouped (by location, so that no
    recording is in two splits)."""


@dataclass(frozen=True)
class AudiovisualSettings(PairSettings, BandSettings):
    """Settings of logistic regression on the embeddings of both towers."""

    force: bool = False
    """Use the sound tower even if the settings of the spectrograms it was trained on are not published."""

    @property
    @override
    def needs_known_spectrograms(self) -> bool:
        return not self.force


AUDIOVISUAL = Kind(
    name="audiovisual",
    title="audiovisual scene recognition",
    protocols=(
        BenchmarkProtocol(
            AudiovisualSettings(), "as SoundingEarth published it: logistic regression on embeddings", trains=False
        ),
    ),
    reporting=tables.AUDIOVISUAL,
    checker="downstream.audiovisual.running:check_audiovisual",
    runner="downstream.audiovisual.running:run_audiovisual",
)
