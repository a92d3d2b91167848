"""How much memory a training process has taken at most."""

from __future__ import annotations

import resource

import torch

BYTES_PER_MAXRSS_UNIT = 1024
"""Of getrusage(2) on Linux."""


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that this process has held: of the device on CUDA, else resident in main memory.

    Loader processes are not counted.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_MAXRSS_UNIT
