"""The options of `study prepare`, `serve` and `report`, and the mistakes that are found before torch is imported."""

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
    """Draws the pairs of a listening study, half true and half retrieved, and writes them with pictures and clips."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    shards: Path
    """The shard set, with listening clips."""
    out: Path
    """Folder to write to."""
    split: Literal["train", "val", "test"] = "test"
    """The split to draw from."""
    pairs: int = 70
    """Pairs to show, an even number; the paper's study had 70."""
    seed: int = 0
    """Seed of which pairs are drawn and of their order."""
    crops: int = 10
    """Evenly spaced sound crops whose embeddings are averaged."""
    batch_size: int = 16
    """Pairs embedded at once."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU where there is one."""
    force: bool = False
    """Accept spectrograms computed with other settings than those the model was trained on."""

    def check(self) -> None:
        """Checks rules and folders.

        Raises:
            UserError: names the option, its value and its rule.
        """
        if self.pairs < 2 or self.pairs % 2:
            raise UserError(f"pairs must be even and >= 2, got {self.pairs}: half of them are true, half retrieved")
        check_at_least(1, crops=self.crops, batch_size=self.batch_size)
        check_at_least(0, seed=self.seed)
        check_model_folder(self.weights)
        check_shard_folder(self.shards)


@dataclass(frozen=True)
class ServeOptions:
    """Serves a study as a web page and keeps each answer at once; Ctrl-C ends it."""

    folder: Path
    """The folder that study prepare wrote."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 opens the page to the network, and then it asks for a token that is printed."""
    port: int = 7870
    """Port to listen on; 0 takes a free one."""

    def check(self) -> None:
        """Checks that there is a study.

        Raises:
            UserError: there is none.
        """
        Study.load(self.folder)


@dataclass(frozen=True)
class StudyReportOptions:
    """Reports a study's answers so far: both rates, their difference, and how far raters agree."""

    folder: Path
    """The folder that study prepare wrote."""
    least_share: float = 0.5
    """Raters count who said yes or no to at least this share of the pairs of each kind."""
    out: Path | None = None
    """Folder to write to; "report" within the study's folder by default."""

    def check(self) -> None:
        """Checks rules, and that there is a study.

        Raises:
            UserError: names the option, its value and its rule.
        """
        if not 0 <= self.least_share <= 1:
            raise UserError(f"least_share must be from 0 to 1, got {self.least_share}")
        Study.load(self.folder)
