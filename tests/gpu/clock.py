"""Seconds of calls, when the device has finished them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

WARM_UP_CALLS = 3


def finish(device: str) -> None:
    """Waits until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_a_call(action: Callable[[], object], calls: int, device: str, warm_up: int = WARM_UP_CALLS) -> float:
    """Seconds of a call: the mean of several in a row, after a few that are not counted."""
    for _ in range(warm_up):
        action()
    finish(device)
    started = time.perf_counter()
    for _ in range(calls):
        action()
    finish(device)
    return (time.perf_counter() - started) / calls


def seconds_in_turn(actions: dict[str, Callable[[], object]], rounds: int, device: str) -> dict[str, float]:
    """Seconds of each of several actions, called in turn: the median of the rounds after the first."""
    taken: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            finish(device)
            started = time.perf_counter()
            action()
            finish(device)
            taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


def peak_mib(action: Callable[[], object], device: str) -> float | None:
    """By how much the device's memory rises during a call; None on the CPU."""
    if device != "cuda":
        return None
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    action()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20
