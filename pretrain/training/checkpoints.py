"""Checkpoints: written atomically, verified on load, without pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from pretrain.engines import TrainingState
from pretrain.training.run_folder import CHECKPOINTS_FOLDER, Use, list_checkpoints
from shards.atomic_files import naming
from shards.errors import UserError, disk_remedy
from shards.records import Count, Finite, Sha256, read_json_as

WEIGHTS_FILE = "weights.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
STATE_FILE = "state.json"
FORMAT_VERSION = 2


@dataclass
class RunState:
    """All of a run's state that is not a tensor; the order of samples and the learning rate follow from `step`.

    Attributes:
        step: steps taken.
        best_error: the smallest validation error so far (in pre-training the mean rank), None before the first.
        best_step: the step after which it was reached.
        validations_since_best: for stopping early.
        seconds: time since the start, validations and checkpoints included, over all starts.
        training_seconds: time in training steps and before the first of them.
        preparing_seconds: the part of it before the first step, such as for the features of frozen encoders.
        first_loss: the first loss that was logged.
        peak_memory_bytes: the most that a training process has held, over all starts.
        uses: what `seconds` were spent on, an entry a kind of hardware and number of processes; they add up to less
            where a checkpoint of an older Earshot, which did not note it, was resumed.
    """

    step: Count = 0
    best_error: Finite | None = None
    best_step: Count | None = None
    validations_since_best: Count = 0
    seconds: Finite = 0.0
    training_seconds: Finite = 0.0
    preparing_seconds: Finite = 0.0
    first_loss: Finite | None = None
    peak_memory_bytes: Count = 0
    uses: list[Use] = field(default_factory=list)

    def use(self, hardware: dict[str, int], processes: int) -> Use:
        """The entry of `uses` for this hardware, which is made where it is missing."""
        for use in self.uses:
            if (use["hardware"], use["processes"]) == (hardware, processes):
                return use
        self.uses.append({"hardware": hardware, "processes": processes, "seconds": 0.0})
        return self.uses[-1]


@dataclass(frozen=True)
class _Record:
    """`state.json` of a checkpoint: the state, and the checksums of the tensors beside it."""

    format_version: Count
    state: RunState
    sha256: dict[str, Sha256]


def save_checkpoint(run_folder: Path, tensors: TrainingState, state: RunState, *, keep: int) -> Path:
    """Writes `checkpoints/step-NNNNNNNN` and removes all but the newest `keep`.

    Raises:
        UserError: it can't be written, as on a full disk; earlier checkpoints stay as they are.
    """
    folder = run_folder / CHECKPOINTS_FOLDER
    final = folder / f"step-{state.step:08d}"
    partial = folder / f".{final.name}.partial"
    try:
        for left in folder.glob(".step-*.partial"):  # by a killed process, perhaps of another step
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir(parents=True)
        checksums = {
            WEIGHTS_FILE: _write(partial / WEIGHTS_FILE, _to_bytes(tensors.weights)),
            OPTIMIZER_FILE: _write(partial / OPTIMIZER_FILE, _to_bytes(tensors.optimizer)),
        }
        record = {"format_version": FORMAT_VERSION, "state": asdict(state), "sha256": checksums}
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
            f"{disk_remedy(error)}, then go on with --resume {run_folder}"
        ) from error
    for old in list_checkpoints(run_folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def load_newest_checkpoint(
    run_folder: Path, take_up: Callable[[TrainingState], None], warn: Callable[[str], None]
) -> RunState:
    """Restores training from the newest checkpoint that is whole; damaged ones are passed over.

    Args:
        run_folder: the run.
        take_up: loads the tensors, or raises if they don't fit.
        warn: called with a sentence for every checkpoint that is skipped.

    Returns:
        The run's state; that of a new run where no checkpoint was written yet.

    Raises:
        UserError: there are checkpoints, but none of them can be loaded.
    """
    folders = list_checkpoints(run_folder)
    for folder in reversed(folders):
        try:
            return _load(folder, take_up)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            message = " ".join(str(error).split())[:200]
            warn(f"warning: checkpoint {folder} is damaged and passed over ({type(error).__name__}: {message})")
    if folders:
        raise UserError(f"none of the {len(folders)} checkpoints in {folders[0].parent} can be loaded; start a new run")
    return RunState()


def _load(folder: Path, take_up: Callable[[TrainingState], None]) -> RunState:
    record = _read_record(folder)
    data = {name: (folder / name).read_bytes() for name in (WEIGHTS_FILE, OPTIMIZER_FILE)}
    for name, content in data.items():
        if hashlib.sha256(content).hexdigest() != record.sha256[name]:
            raise ValueError(f"{name} does not have the checksum it was written with")
    weights, optimizer = (safetensors.torch.load(data[name]) for name in (WEIGHTS_FILE, OPTIMIZER_FILE))
    take_up(TrainingState(weights, optimizer))
    return record.state


def read_state(folder: Path) -> RunState:
    """The state in a checkpoint.

    Raises:
        UserError: it is missing or damaged.
    """
    return _read_record(folder).state


def _read_record(folder: Path) -> _Record:
    record = read_json_as(_Record, folder / STATE_FILE)
    if record.format_version != FORMAT_VERSION:
        raise UserError(f"{folder / STATE_FILE}: format_version is {record.format_version}, not {FORMAT_VERSION}")
    return record


def _to_bytes(tensors: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _write(path: Path, content: bytes) -> str:
    with naming(path), path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(content).hexdigest()
