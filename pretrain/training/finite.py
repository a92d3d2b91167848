"""A loss that is not finite stops the run, and names the items it came from."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from pretrain import distributed
from shards.errors import UserError

KEYS_IN_MESSAGE = 8
RECORD_NAME = "non_finite_batch.json"


class FiniteCheck:
    """Looks at each step's loss a step later, so that no device is waited for.

    Args:
        run_folder: where the keys of the batch at fault are written.
    """

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self._noted: tuple[int, list[str], Tensor] | None = None

    def note(self, step: int, local_keys: list[str], loss: Tensor) -> None:
        """Keeps a step's loss, the same on every process, and the keys of this process's items."""
        self._noted = (step, local_keys, loss)

    def check(self) -> None:
        """Looks at the loss that was noted last.

        Raises:
            UserError: it was not finite.
        """
        if self._noted is None:
            return
        step, local_keys, loss = self._noted
        self._noted = None
        if torch.isfinite(loss):
            return
        keys = [key for part in distributed.gather_objects(local_keys) for key in part]
        path = self._folder / RECORD_NAME
        if distributed.is_first():
            path.write_text(json.dumps({"step": step, "loss": str(loss.item()), "keys": keys}, indent=1) + "\n")
        shown = ", ".join(keys[:KEYS_IN_MESSAGE]) + (", …" if len(keys) > KEYS_IN_MESSAGE else "")
        raise UserError(
            f"the loss of step {step} is {loss.item()}, it must be finite; the batch held the keys {shown} (all "
            f"{len(keys)} in {path}); look at those, or start again with a lower optimizer.learning_rate, "
            "a longer optimizer.warmup_epochs, or optimizer.max_gradient_norm 1"
        )
