"""The options of the verb `convert`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from shards.errors import UserError


@dataclass(frozen=True)
class ConvertOptions:
    """Converts a checkpoint released by SoundingEarth's authors to an Earshot model folder."""

    file: Positional[Path]
    """The checkpoint, as saved by torch.save; only tensors are unpickled."""
    out: Path
    """The folder to write `model/` into."""
    on_sphere: bool | None = None
    """Whether it was trained with a contrastive loss, whose embeddings are compared at length 1; None: true if it
    holds a learned temperature."""

    def check(self) -> None:
        """Checks that the checkpoint exists.

        Raises:
            UserError: it does not.
        """
        if not self.file.is_file():
            raise UserError(f"no weights at {self.file}: no such file")
