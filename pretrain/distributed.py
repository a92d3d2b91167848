"""The only file that uses torch.distributed; on a single process its functions do nothing or return their input."""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Its default arguments keep a reference to the process group that exists when it is first imported. Torch imports it by
# itself, for example at the first use of activation checkpointing, and the group would then outlive its destruction. So
# it is imported here, before any group exists.
import torch.distributed.nn.functional
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from shards.loudness import note

Value = TypeVar("Value")


def is_active() -> bool:
    """Whether more than one process trains."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def num_processes() -> int:
    """Number of training processes."""
    return dist.get_world_size() if is_active() else 1


def rank() -> int:
    """This process's rank, from 0."""
    return dist.get_rank() if is_active() else 0


def is_first() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def is_first_on_machine() -> bool:
    """Whether this process is the one that does what its machine needs once, as torchrun and accelerate number them."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def print_once(text: str) -> None:
    """Prints a line on the first process (Accelerate's own would print it on every machine)."""
    if is_first():
        print(text, flush=True)


def note_once(text: str) -> None:
    """Prints a line that is neither a result nor a problem on the first process, unless `--quiet` was given."""
    if is_first():
        note(text, sys.stdout)


def barrier() -> None:
    """Waits until every process has arrived."""
    if is_active():
        dist.barrier()


def leave() -> None:
    """Destroys the process group once all processes have arrived, at the end of a command.

    A process that exits while still in the group may abort, because gloo's threads are then terminated while running.
    They end here, provided the caller no longer holds a model, or anything else, that was prepared for several
    processes. DeepSpeed keeps its own until the process exits; in that case the barrier ensures that the threads are
    idle.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
        gc.collect()


def share_buffers(module: nn.Module) -> None:
    """Gives every process the first one's buffers, such as the running statistics of batch norm."""
    if is_active():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


class _Gather(torch.autograd.Function):
    """Gathers the rows of all processes; in the backward pass each gets the sum of all gradients of its own rows."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(num_processes())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return own_rows(total)


def gather_with_gradient(rows: Tensor) -> Tensor:
    """Gathers the rows of all processes, in rank order, with gradients to each.

    Args:
        rows: (n, …), of the same shape on every process.

    Returns:
        (n · processes, …). When every process computes one loss from it and gradients are averaged over
        processes, as data-parallel training does, the result is the gradient of that loss.
    """
    return _Gather.apply(rows) if is_active() else rows


def own_rows(gathered: Tensor) -> Tensor:
    """Returns this process's part of (n · processes, …) rows that were gathered in rank order."""
    return gathered.chunk(num_processes())[rank()]


def gather_objects(value: Value) -> list[Value]:
    """Returns the values of all processes, in rank order, on every process."""
    if not is_active():
        return [value]
    values: list[Any] = [None] * num_processes()
    dist.all_gather_object(values, value)
    return values


def from_first(value: Value) -> Value:
    """Returns the first process's value, on every process."""
    return gather_objects(value)[0]


def from_first_on_machine(value: Value) -> Value:
    """Returns the value of the first process on this process's machine; launchers give a machine successive ranks."""
    values = gather_objects((is_first_on_machine(), value))[: rank() + 1]
    return next(value for is_first, value in reversed(values) if is_first)


def on_any_process(value: bool) -> bool:
    """Returns whether `value` is true on any process; every process gets the same answer."""
    return any(gather_objects(value))
