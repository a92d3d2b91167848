"""On what a run was computed, by name, as its `summary.json` keeps it."""

from __future__ import annotations

import platform
import socket
from collections import Counter
from pathlib import Path

import torch

from pretrain import distributed

CPU_INFO = Path("/proc/cpuinfo")


def hardware(device: torch.device) -> dict[str, int]:
    """Counts the devices that the processes train on, by name; all processes must call it.

    Processes on the CPU of one machine share one device, those on GPUs have one each.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    place = distributed.rank() if device.type == "cuda" else socket.gethostname()
    return dict(Counter(name for name, _ in set(distributed.gather_objects((name, place)))))


def _cpu_name() -> str:
    """Model name of the processor, such as "AMD EPYC 9B14"."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), "") or platform.processor() or platform.machine() or "CPU"
