"""The options of `study prepare`, `serve` and `report`; they are checked before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pretrain.model_files import check_model_folder
from retrieval.options import check_at_least
from retrieval.study.folder import Study
from shards.errors import UserError
from shards.manifest import check_shard_folder


@dataclass(frozen=True)
class PrepareOptions:
    """Draws the pairs of a listening study, half true and half retrieved, and writes their images and clips."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    shards: Path
    """The shard set, with listening clips."""
    out: Path
    """Folder to write to."""
    split: Literal["train", "val", "test"] = "test"
    """The split to draw from."""
    pairs: int = 70
    """Number of pairs, even; the paper's study had 70."""
    seed: int = 0
    """Seed for drawing the pairs and for their order."""
    crops: int = 10
    """Number of evenly spaced sound crops whose embeddings are averaged."""
    batch_size: int = 16
    """Pairs embedded at once."""
    device: str = "auto"
    """cpu, cuda, or auto (the GPU if there is one)."""
    force: bool = False
    """Accept spectrograms computed with settings other than those the model learned from; their scale is converted."""

    def check(self) -> None:
        """Checks rules and folders.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        if self.pairs < 2 or self.pairs % 2:
            raise UserError(f"pairs must be even and >= 2, got {self.pairs}: half of them are true, half retrieved")
        check_at_least(1, crops=self.crops, batch_size=self.batch_size)
        check_at_least(0, seed=self.seed)
        check_model_folder(self.weights)
        check_shard_folder(self.shards)


@dataclass(frozen=True)
class ServeOptions:
    """Serves a study as a web page and stores each answer immediately; Ctrl-C stops it."""

    folder: Path
    """The --out folder of study prepare."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 opens the page to the network, behind a token that the command prints."""
    port: int = 7870
    """Port to listen on; 0 selects a free one."""

    def check(self) -> None:
        """Checks that the folder holds a study.

        Raises:
            UserError: it does not.
        """
        Study.load(self.folder)


@dataclass(frozen=True)
class StudyReportOptions:
    """Reports a study's answers so far: both rates, their difference, and the raters' agreement."""

    folder: Path
    """The --out folder of study prepare."""
    least_share: float = 0.5
    """Minimum share of the pairs of each kind that a rater must have answered with yes or no to be counted."""
    out: Path | None = None
    """Folder to write to, by default "report" in the study's folder."""

    def check(self) -> None:
        """Checks rules, and that the folder holds a study.

        Raises:
            UserError: an option is invalid; the message names it, its value and the rule.
        """
        if not 0 <= self.least_share <= 1:
            raise UserError(f"least_share must be from 0 to 1, got {self.least_share}")
        Study.load(self.folder)
