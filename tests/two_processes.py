"""Runs a function on 2 gloo processes, which part and end as a command's do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from pretrain.distributed import leave


def on_two_processes(function: Callable[[int, str], None], folder: Path) -> None:
    """Calls `function(number of the process, folder)` on both; what either raises is raised here."""
    mp.spawn(one_of_two, args=(function, str(folder)), nprocs=2)


def one_of_two(process: int, function: Callable[[int, str], None], folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=process, world_size=2)
    function(process, folder)
    assert gloo_threads()
    leave()
    # A thread that is left may want the interpreter while it ends, which aborts the process.
    assert gloo_threads() == []


def gloo_threads() -> list[str]:
    """Names of this process's threads that carry out gloo's collectives."""
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    return [name for name in names if "gloo" in name]
