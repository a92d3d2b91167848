"""The options of the verb `release`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from pretrain.model_files import check_model_folder
from shards.errors import UserError

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True)
class ReleaseOptions:
    """Writes a folder that others load in two lines: both towers, each encoder alone under its library's names, model
    card, notice on rights and checksums. It is put in place once it has been loaded and gives equal embeddings."""

    run: Positional[Path]
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

    def check(self) -> None:
        """Checks all that can be known before the weights are read.

        Raises:
            UserError: there are no weights, or an option is against its rule.
        """
        check_model_folder(self.run)
        _check_out(self.out.resolve(), self.out)
        if self.licence is not None and not LICENCE.fullmatch(self.licence):
            raise UserError(f"licence must be a name as the hub has it, such as cc-by-4.0, got {self.licence!r}")
        if self.watts is not None and not self.watts > 0:
            raise UserError(f"watts must be > 0, got {self.watts:g}")


def _check_out(out: Path, named: Path) -> None:
    """Whether a folder can be put at `out`, which the user named otherwise."""
    if not out.name.isprintable():
        raise UserError(f"out {str(named)!r} can't be written into a card: its name has letters that can't be printed")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"out {named} is there already and not an empty folder; name another --out")
    if os.path.ismount(out) or out == Path.cwd():
        raise UserError(f"out {named} is a mount point or the current folder, which can't be replaced; name one in it")
    above = next(folder for folder in out.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"out {named} can't be written: {above} is not a folder, or not writable; name another --out")
