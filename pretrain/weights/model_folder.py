"""`model/`, the part of a run to share: weights, config and a model card, replaced as a whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from pretrain.model import TwoTower
from pretrain.model_files import CARD_NAME
from shards.errors import UserError, disk_remedy

MODEL_FOLDER = "model"
FORMER_FOLDER = f".{MODEL_FOLDER}.former"


def write_model_folder(
    run_folder: Path, towers: TwoTower, card: str, *, check: Callable[[Path], None] | None = None
) -> Path:
    """Rewrites `RUN/model/`: `config.json`, `model.safetensors`, `README.md`.

    Args:
        run_folder: the run folder.
        towers: the towers to save.
        card: the text of `README.md`.
        check: called on the new folder before it is put in place; raises `UserError` if something is wrong with it.

    Raises:
        UserError: the folder can't be written, or fails the check; the previous one is kept.
    """
    final = run_folder / MODEL_FOLDER
    partial = run_folder / f".{MODEL_FOLDER}.partial"
    former = run_folder / FORMER_FOLDER
    try:
        shutil.rmtree(partial, ignore_errors=True)
        towers.save_pretrained(partial)
        (partial / CARD_NAME).write_text(card, encoding="utf-8")
        if check is not None:
            check(partial)
        shutil.rmtree(former, ignore_errors=True)
        if final.exists():
            os.replace(final, former)
        os.replace(partial, final)
        shutil.rmtree(former, ignore_errors=True)
    except OSError as error:
        raise UserError(
            f"the model can't be written to {final}: {error.strerror or error}; {disk_remedy(error)}, then resume with "
            f"--resume {run_folder}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final


def restore_model_folder(run_folder: Path) -> None:
    """Restores the previous `RUN/model/` if a run was killed between removing it and putting the new one in place."""
    final, former = run_folder / MODEL_FOLDER, run_folder / FORMER_FOLDER
    if former.exists() and not final.exists():
        os.replace(former, final)
