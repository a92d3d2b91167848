"""Joins the launched processes by Accelerate, and refuses a world size other than the one launched."""

from __future__ import annotations

import importlib.util
import os
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs

from pretrain.engines import ENGINES
from pretrain.engines.zero import skip_shared_memory
from pretrain.settings.training import RunSettings
from pretrain.trackers import TRACKERS
from shards.errors import UserError

ON_THE_CPU = (
    "on the CPU launch with torchrun --nproc_per_node N pretrain/run.py, or by a DeepSpeed file of launch/accelerate/"
)


def start_accelerator(settings: RunSettings) -> Accelerator:
    """Joins the launched processes and divides the machine's cores among them.

    Raises:
        UserError: other processes joined than were launched, a kind of distribution that there is no
            engine for, or a tracker whose package is not installed.
    """
    check_requirements(settings)
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if "MASTER_ADDR" in os.environ and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "several processes were asked for, but without CUDA and DeepSpeed accelerate launch starts one, which "
            f"would train alone; {ON_THE_CPU}"
        )
    with_deepspeed = os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"
    on_cpu = not torch.cuda.is_available()
    # With a backend, Accelerate without DeepSpeed treats a single process as distributed, and fails.
    handlers = []
    if launched > 1 or with_deepspeed:
        waits = timedelta(minutes=settings.timeout_minutes)
        handlers = [InitProcessGroupKwargs(backend="gloo" if on_cpu else "nccl", timeout=waits)]
    if with_deepspeed and on_cpu:
        skip_shared_memory()
    accelerator = Accelerator(
        # Otherwise torchrun's processes join without CUDA, but as DistributedType.NO: each would keep its gradients.
        # DeepSpeed would be switched off by it.
        cpu=on_cpu and launched > 1 and not with_deepspeed,
        mixed_precision="no",  # the engines see to it, alike under every kind of distribution
        kwargs_handlers=handlers,
    )
    is_alone = accelerator.distributed_type == DistributedType.NO
    if accelerator.num_processes != launched or (launched > 1 and is_alone):
        raise UserError(
            f"{launched} processes were launched but {1 if is_alone else accelerator.num_processes} joined, so each "
            "would train alone; "
            f"{ON_THE_CPU}"
        )
    if with_deepspeed != (accelerator.distributed_type == DistributedType.DEEPSPEED):
        raise UserError(
            f"the launch configuration asks for DeepSpeed, but the processes joined as "
            f"{accelerator.distributed_type.value}, without it; take ACCELERATE_USE_CPU out of the environment"
        )
    if accelerator.distributed_type not in ENGINES:
        known = ", ".join(kind.value for kind in ENGINES)
        raise UserError(
            f"the launch configuration asks for {accelerator.distributed_type.value}, a run goes on any of: {known}; "
            "use a file of launch/accelerate/"
        )
    if accelerator.device.type == "cpu":
        # accelerate launch and torchrun set OMP_NUM_THREADS=1, which leaves cores idle.
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        torch.set_num_threads(settings.threads or max(1, len(os.sched_getaffinity(0)) // here))
    return accelerator


def check_requirements(settings: RunSettings) -> None:
    """Checks that the packages required by the settings are installed.

    Raises:
        UserError: the tracker's is not.
    """
    package = TRACKERS[settings.tracker].package
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(
            f"tracker {settings.tracker} needs the package {package}, which is not installed; "
            f"pip install {package}, or choose another --tracker"
        )
