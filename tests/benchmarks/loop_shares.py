"""Where the time of a training loop goes, and the name of what holds it up. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping

MOST_WAITING = 0.05
WAITING, STEP, LOADER, REST = "waiting for data", "model step", "loader on the same cores", "the rest"


def shares_of_time(
    *,
    loop_seconds: float,
    waiting_share: float,
    step_seconds: float,
    loader_seconds: float,
    cores: int,
    on_cpu: bool,
) -> dict[str, float]:
    """The parts of a loop's time, in [0, 1] and 1 together.

    Args:
        loop_seconds: of the whole loop, a pair.
        waiting_share: of it, the trainer waited for batches.
        step_seconds: a pair, of the model alone at the same batch and threads.
        loader_seconds: seconds of one core that the loader spends on a pair.
        cores: of the machine.
        on_cpu: whether model and loader share those cores; a loader beside a GPU takes no time from it.
    """
    parts = {WAITING: waiting_share, STEP: step_seconds / loop_seconds}
    if on_cpu:
        parts[LOADER] = loader_seconds / cores / loop_seconds
    total = sum(parts.values())
    if total > 1:  # measured apart, on a machine that was never quite the same
        parts = {name: value / total for name, value in parts.items()}
    return {**parts, REST: max(0.0, 1 - sum(parts.values()))}


def bottleneck(shares: Mapping[str, float], stages: Mapping[str, float], *, processes: int) -> str:
    """What to make faster first, in words.

    Args:
        shares: as `shares_of_time` gives them.
        stages: seconds a pair of each of the loader's stages.
        processes: of the training.
    """
    slowest = f", most of it to {max(stages, key=lambda name: stages[name])}" if stages else ""
    if shares[WAITING] > MOST_WAITING:
        return f"the loader: the trainer waits {shares[WAITING]:.0%} of the time{slowest}"
    others = {name: share for name, share in shares.items() if name != WAITING}
    name = max(others, key=lambda name: others[name])
    if name == LOADER:
        return f"the cores: the loader takes {shares[LOADER]:.0%} of their time{slowest}"
    if name == REST:
        what = "exchange between processes and the rest" if processes > 1 else "neither step nor data"
        return f"{what}: {shares[REST]:.0%} of the time"
    return f"the model: its step is {shares[STEP]:.0%} of the time"
