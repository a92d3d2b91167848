"""The file names and checkpoints of a run folder; imports nothing heavy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import (
    Any,
    NotRequired,  # pydantic takes that of Python 3.12 or this one
)

from typing_extensions import TypedDict

from shards.records import Count, Finite, checked, read_json_as

CONFIG_NAME = "config.yaml"
"""All settings, resolved."""
SUMMARY_NAME = "summary.json"
"""Written when training ends."""
CHECKPOINTS_FOLDER = "checkpoints"

CHECKPOINT_NAME = re.compile(r"step-\d{8}")


class Use(TypedDict):
    """How long a run was computed on what."""

    hardware: dict[str, Count]
    processes: Count
    seconds: Finite


class DataOutline(TypedDict):
    """What a summary says about the shard set, in case the set is moved later."""

    source: str
    pairs: dict[str, Count]
    split_by: str | None
    seconds_of_sound: Finite
    num_rejected: Count
    warnings: NotRequired[list[str]]
    licence: NotRequired[str]


class Summary(TypedDict):
    """What is known of the types in `summary.json`."""

    step: Count
    best_step: NotRequired[Count | None]
    best_error: NotRequired[Finite | None]
    stopped_early: NotRequired[bool]
    seconds: NotRequired[Finite]
    training_seconds: NotRequired[Finite]
    peak_memory_bytes: NotRequired[Count | None]
    uses: NotRequired[list[Use]]
    data: NotRequired[DataOutline]


def read_summary(run_folder: Path, remedy: str) -> dict[str, Any]:
    """Reads the summary of a finished run.

    Args:
        run_folder: the run.
        remedy: what to do if it is damaged, for the message.

    Raises:
        UserError: it is missing or damaged.
    """
    path = run_folder / SUMMARY_NAME
    return checked(Summary, read_json_as(dict[str, Any], path, remedy), str(path), remedy)


def list_checkpoints(run_folder: Path) -> list[Path]:
    """Lists the complete checkpoint folders of a run (those renamed into place), oldest first."""
    folder = run_folder / CHECKPOINTS_FOLDER
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if CHECKPOINT_NAME.fullmatch(path.name))
