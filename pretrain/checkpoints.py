"""What a killed run goes on from: written beside and renamed, checked on load, without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from shards.errors import UserError

CHECKPOINTS_FOLDER = "checkpoints"
WEIGHTS_FILE = "weights.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
FORMAT_VERSION = 1
_NAME = re.compile(r"step-(\d{8})")


@dataclass
class RunState:
    """All of a run's state that is not a tensor; the order of samples and the learning rate follow from `step`.

    Attributes:
        step: steps taken.
        best_mean_rank: the best validation mean rank so far, None before the first.
        best_step: the step after which it was reached.
        validations_since_best: for stopping early.
        seconds: time trained, over all starts.
        first_loss: the first loss that was logged.
    """

    step: int = 0
    best_mean_rank: float | None = None
    best_step: int | None = None
    validations_since_best: int = 0
    seconds: float = 0.0
    first_loss: float | None = None


def save_checkpoint(
    run_folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: RunState, *, keep: int
) -> Path:
    """Writes `checkpoints/step-NNNNNNNN` and removes all but the newest `keep`.

    Raises:
        UserError: it can't be written, as on a full disk; earlier checkpoints stay as they are.
    """
    folder = run_folder / CHECKPOINTS_FOLDER
    final = folder / f"step-{state.step:08d}"
    partial = folder / f".{final.name}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        tensors, scalars = _split_optimizer_state(optimizer)
        checksums = {
            WEIGHTS_FILE: _write(partial / WEIGHTS_FILE, _to_bytes(model.state_dict())),
            OPTIMIZER_FILE: _write(partial / OPTIMIZER_FILE, _to_bytes(tensors)),
        }
        record = {
            "format_version": FORMAT_VERSION,
            "state": asdict(state),
            "optimizer": scalars,
            "sha256": checksums,
        }
        _write(partial / STATE_FILE, json.dumps(record, indent=1).encode())
        if final.exists():
            shutil.rmtree(final)
        os.replace(partial, final)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        last = [path.name for path in list_checkpoints(run_folder)][-1:]
        remedy = f"the last good one is {folder / last[0]}" if last else "there is no earlier one"
        raise UserError(
            f"the checkpoint of step {state.step} can't be written to {folder}: {error.strerror or error}; {remedy}; "
            f"free some space, then go on with --resume {run_folder}"
        ) from error
    for old in list_checkpoints(run_folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def list_checkpoints(run_folder: Path) -> list[Path]:
    """The checkpoint folders of a run that were renamed into place, oldest first."""
    folder = run_folder / CHECKPOINTS_FOLDER
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def load_newest_checkpoint(
    run_folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    warn: Callable[[str], None],
) -> RunState:
    """Restores model and optimizer from the newest checkpoint that is whole; damaged ones are passed over.

    Args:
        run_folder: the run.
        model: of the same settings as the saved one.
        optimizer: of the same parameters.
        warn: told of every checkpoint that is passed over, and why.

    Returns:
        The run's state; that of a new run where no checkpoint was written yet.

    Raises:
        UserError: there are checkpoints, but none of them can be loaded.
    """
    folders = list_checkpoints(run_folder)
    for folder in reversed(folders):
        try:
            return _load(folder, model, optimizer)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            message = " ".join(str(error).split())[:200]
            warn(f"warning: checkpoint {folder} is damaged and passed over ({type(error).__name__}: {message})")
    if folders:
        raise UserError(f"none of the {len(folders)} checkpoints in {folders[0].parent} can be loaded; start a new run")
    return RunState()


def _load(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> RunState:
    record = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
    if record["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format_version is {record['format_version']}, not {FORMAT_VERSION}")
    data = {name: (folder / name).read_bytes() for name in (WEIGHTS_FILE, OPTIMIZER_FILE)}
    for name, content in data.items():
        if hashlib.sha256(content).hexdigest() != record["sha256"][name]:
            raise ValueError(f"{name} does not have the checksum it was written with")
    model.load_state_dict(safetensors.torch.load(data[WEIGHTS_FILE]))
    tensors = safetensors.torch.load(data[OPTIMIZER_FILE])
    optimizer.load_state_dict(_join_optimizer_state(optimizer, tensors, record["optimizer"]))
    return RunState(**record["state"])


def _split_optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The optimizer's state as tensors and as plain values, both by "parameter.name"."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {}
    for parameter, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            (tensors if isinstance(value, Tensor) else scalars)[f"{parameter}.{name}"] = value
    return tensors, scalars


def _join_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], scalars: dict[str, Any]
) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for path, value in {**tensors, **scalars}.items():
        parameter, name = path.split(".", 1)
        state.setdefault(int(parameter), {})[name] = value
    return {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}


def _to_bytes(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _write(path: Path, content: bytes) -> str:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()
