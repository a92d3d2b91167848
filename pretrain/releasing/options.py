"""What may be said of a release on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ReleaseOptions:
    """Writes what others load in two lines: both towers, each encoder alone under torchvision's and timm's names, model
    card, notice on rights and checksums. It is put in place when it has given the same embeddings back."""

    run: Path
    """A run folder, or a model folder, of which the card can tell less."""
    out: Path
    """The folder to write; it must be missing or empty."""
    push_to_hub: str | None = None
    """Then put it on the hub under this name, OWNER/NAME; a model that is missing there is made, for all to see."""
    results: tuple[Path, ...] = ()
    """Folders of retrieval/run.py evaluate and downstream/run.py whose scores the card is to show."""
    shards: Path | None = None
    """Where the shard set of the run is now, for the licences of its recordings; None: where it was."""
    licence: str | None = None
    """Of the weights, as the hub names it, such as cc-by-4.0; None: the card points to the notice."""
    imagery: str | None = None
    """Whose the images are and under what terms, for the notice; None: what is known of the corpus."""
    watts: float | None = None
    """Power of one device, for the estimate of energy; None: as its maker rates it, where that is known."""
