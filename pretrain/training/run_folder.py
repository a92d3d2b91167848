"""The file names and checkpoints of a run folder; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path

CONFIG_NAME = "config.yaml"
"""All settings, resolved."""
SUMMARY_NAME = "summary.json"
"""Written when training ends."""
CHECKPOINTS_FOLDER = "checkpoints"

CHECKPOINT_NAME = re.compile(r"step-\d{8}")


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Lists the complete checkpoint folders of a run (those renamed into place), oldest first."""
    folder = run_folder / CHECKPOINTS_FOLDER
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if CHECKPOINT_NAME.fullmatch(path.name))
