"""Joining the processes that were launched, as Accelerate's; refusing a world that is not the one launched for."""

from __future__ import annotations

import importlib.util
import os

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs

from pretrain.config import Config
from shards.errors import UserError

SUPPORTED_TYPES = (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU)


def start_accelerator(config: Config) -> Accelerator:
    """Joins the processes that were launched, and shares the machine's cores out to them.

    Raises:
        UserError: other processes joined than were launched, a kind of distribution that the trainer can't
            checkpoint, "sync" norms without CUDA, or a tracker whose package is not installed.
    """
    _check_requirements(config)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "several processes were asked for, but without CUDA accelerate launch starts one, which would train alone; "
            "on the CPU launch with ACCELERATE_USE_CPU=true torchrun --nproc_per_node N pretrain/run.py"
        )
    on_cpu = not torch.cuda.is_available()
    # Given a backend, Accelerate takes even a single process for a distributed one, and fails.
    handlers = [InitProcessGroupKwargs(backend="gloo")] if on_cpu and launched > 1 else []
    accelerator = Accelerator(
        mixed_precision="bf16" if config.precision == "bf16" else "no",
        kwargs_handlers=handlers,
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=str(config.out),
    )
    if accelerator.num_processes != launched:
        raise UserError(
            f"{launched} processes were launched but {accelerator.num_processes} joined, so each would train alone; "
            "on the CPU launch with ACCELERATE_USE_CPU=true torchrun --nproc_per_node N pretrain/run.py"
        )
    if accelerator.distributed_type not in SUPPORTED_TYPES:
        raise UserError(
            f"the launch configuration asks for {accelerator.distributed_type.value}, the trainer runs on one process "
            "or data parallel on several; use a file of launch/accelerate/"
        )
    if config.model.norm == "sync" and accelerator.device.type != "cuda":
        raise UserError("model.norm sync needs CUDA devices, this run is on the CPU; choose batch or group")
    if accelerator.device.type == "cpu":
        # accelerate launch and torchrun set OMP_NUM_THREADS=1, which would leave cores idle.
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(config.threads or max(1, len(os.sched_getaffinity(0)) // here))
    return accelerator


def _check_requirements(config: Config) -> None:
    if config.tracker != "none" and importlib.util.find_spec(config.tracker) is None:
        raise UserError(
            f"tracker {config.tracker} needs the package {config.tracker}, which is not installed; "
            f"pip install {config.tracker}, or choose another --tracker"
        )
