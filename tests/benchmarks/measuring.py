"""How a case is measured: in a process of its own, the fastest of a few times, and its peak of memory."""

from __future__ import annotations

import gc
import multiprocessing
import os
import platform
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch

from pretrain.precision import cpu_computes_bf16

Result = TypeVar("Result")
MIB_IN_KIB = 1024


# A fork of a process that has imported what every case needs and computed nothing: as clean as a new Python, and there
# at once.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["torch", "torchvision", "albumentations", "accelerate", "sklearn.linear_model"])


def alone(function: Callable[..., Result], *arguments: Any) -> Result:
    """The result of a call in a new process, so that peaks and caches of cases don't mix."""
    with ProcessPoolExecutor(1, mp_context=PROCESSES) as pool:
        return pool.submit(function, *arguments).result()


def fastest(action: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest call: what the machine does when nobody else is using it.

    Args:
        action: what is timed.
        repeats: calls.
        clock: `time.process_time` counts what the process's own cores did, and leaves out waiting.
    """
    taken = []
    for _ in range(repeats):
        started = clock()
        action()
        taken.append(clock() - started)
    return min(taken)


def memory_mib(field: str, path: str = "/proc/self/status") -> float:
    """A figure of the kernel's in MiB, such as VmHWM, the peak of this process. Linux only."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path(path).read_text(encoding="ascii"), re.MULTILINE)
    assert match, field
    return int(match[1]) / MIB_IN_KIB


def free_memory_mib() -> float:
    """What a new process may take."""
    return memory_mib("MemAvailable", "/proc/meminfo")


def peak_mib_of(action: Callable[[], Result]) -> tuple[Result, float]:
    """What a call returns, and by how much memory rose meanwhile over what the process held before."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = memory_mib("VmRSS")
    result = action()
    return result, memory_mib("VmHWM") - before


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", cpu.read_text(), re.MULTILINE) if cpu.is_file() else []
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "cpu_has_bf16": cpu_computes_bf16(),
        "memory_gib": round(memory_mib("MemTotal", "/proc/meminfo") / 1024, 1),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
