"""`--dry-run` of a pre-training run: makes its checks, and prints pairs, batch, steps, sizes and outputs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrain import distributed
from pretrain.data.batches import BatchLayout
from pretrain.data.fitted_batch import with_fitted_batch
from pretrain.precision import resolve_precision
from pretrain.pretraining import PreTraining
from pretrain.settings.files import with_settings
from pretrain.settings.pretraining import DEMO_SHARDS, Config
from pretrain.training.preparation import DEMO_WORLD
from pretrain.training.processes import start_accelerator
from pretrain.training.run_folder import list_checkpoints
from pretrain.weights.published_weights import without_fetching
from shards.command_line.dry_runs import ENDING, free_bytes, print_plan, size_of
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME
from shards.schema import SPLITS, TRAIN_SPLIT

if TYPE_CHECKING:
    from pretrain.command_line import Request

STATES = {"adam": 2, "adamw": 2, "sgd": 1}
"""Numbers an optimiser keeps for each weight."""
BYTES_PER_NUMBER = 4
PLANNED = "PLANNED_PROCESSES"
"""Variable with the number of processes that the run will have, for a dry run on one, such as on a login node."""


def dry_run(request: Request) -> None:
    """Makes the checks of a run in this process, and prints what it would do; writes nothing.

    Published weights (`imagenet`, `pretrained`, the hub) are not fetched: their place is taken by random ones, so that
    only weights in local files are checked.

    With `PLANNED_PROCESSES` in the environment, the batch is that of a run of that many processes on another machine,
    which may have the GPUs that this one lacks.

    Raises:
        UserError: as the run, or a number of planned processes that is not one.
    """
    planned = _planned_processes()
    config = resolve_precision(request.config)
    accelerator = start_accelerator(config)
    lines = {"method": f"{config.summary}, seed {config.seed}"}
    ending = ENDING
    if config.shards == DEMO_SHARDS and not (Path(config.shards) / MANIFEST_NAME).is_file():
        lines["shards"] = f"{config.shards} is missing: it would be built first, from a demo world in {DEMO_WORLD}"
        lines["batch"] = f"{config.batch_size} pairs, {config.epochs} epochs"
        ending = "dry run: the settings are checked, the shards are not there yet; nothing was written"
    else:
        here = without_fetching(config)
        if planned is not None and here.model.norm == "sync":
            here = with_settings(here, {"model.norm": "batch"})  # of the same size; the planned machine has the GPUs
        task = PreTraining(here, accelerator, fits_batch=request.fits_batch)
        config, layout = _batch(config, task, planned, fits_batch=request.fits_batch)
        lines |= _of_task(config, task, layout)
    lines |= {
        "optimizer": f"{config.optimizer.name}, learning rate {config.optimizer.learning_rate:g}, weight decay "
        f"{config.optimizer.weight_decay:g}, warm-up {config.optimizer.warmup_epochs:g} epochs",
        "stops": f"after {config.max_seconds:g} s of training" if config.max_seconds else "",
        "device": f"{accelerator.device}, {config.precision}, {distributed.num_processes()} processes"
        f"{f' here, {planned} planned' if planned else ''}",
        "start": _start(config, request),
        "tracker": config.tracker,
    }
    if distributed.is_first():
        print_plan(lines, ending=ending)


def _planned_processes() -> int | None:
    """The number in PLANNED_PROCESSES; None if there is none."""
    text = os.environ.get(PLANNED)
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"{PLANNED} must be a number of processes >= 1, got {text}")
    return int(text)


def _batch(config: Config, task: PreTraining, planned: int | None, *, fits_batch: bool) -> tuple[Config, BatchLayout]:
    """The settings with the run's batch size, and the batch as it is dealt to the planned processes."""
    if planned is None:
        return dataclasses.replace(config, batch_size=task.settings.batch_size), task.layout
    if fits_batch:
        config, _ = with_fitted_batch(config, task.shard_set.num_samples(TRAIN_SPLIT), planned)
    return config, BatchLayout(config.batch_size, planned, config.optimizer.accumulation)


def _of_task(config: Config, task: PreTraining, layout: BatchLayout) -> dict[str, str]:
    """What is known once shards and towers are open."""
    counts = {split: task.shard_set.num_samples(split) for split in SPLITS}
    weights = sum(parameter.numel() for parameter in task.module.parameters())
    trained = sum(parameter.numel() for parameter in task.module.parameters() if parameter.requires_grad)
    read = sum(entry.bytes for entry in task.shard_set.manifest.shards if entry.split == TRAIN_SPLIT)
    checkpoint = (weights + trained * STATES[config.optimizer.name]) * BYTES_PER_NUMBER
    towers = sum(parameter.numel() for parameter in task.module.towers.parameters()) * BYTES_PER_NUMBER
    steps = layout.steps_per_epoch(counts[TRAIN_SPLIT])
    left_out = counts[TRAIN_SPLIT] - steps * layout.batch_size
    return {
        "shards": f"{config.shards}, {', '.join(f'{count:,} {split}' for split, count in counts.items())} pairs",
        "model": f"{config.model.image_encoder} and {config.model.sound_encoder}, {weights / 1e6:.1f} million weights, "
        f"{trained / 1e6:.1f} million of them trained",
        "batch": f"{layout.batch_size} = {layout.num_processes} processes x {layout.per_process} pairs x "
        f"{layout.accumulation} accumulation steps",
        "steps": f"{steps:,} an epoch ({left_out:,} pairs left out of each), {steps * config.epochs:,} in "
        f"{config.epochs} epochs",
        "reads": f"at most {size_of(read)} an epoch",
        "writes": f"{config.out}: model about {size_of(towers)}, {config.checkpoint.keep} checkpoints of about "
        f"{size_of(checkpoint)}, config.yaml, metrics.jsonl; {size_of(free_bytes(config.out))} free",
    }


def _start(config: Config, request: Request) -> str:
    """Where the weights come from."""
    if request.resume:
        checkpoints: list[Any] = list_checkpoints(config.out)
        return f"resumes from {checkpoints[-1]}" if checkpoints else f"{config.out} has no checkpoint yet: step 0"
    return f"image encoder {config.model.image_init}, sound encoder {config.model.sound_init}"
