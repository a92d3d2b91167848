"""Names what holds a training loop up, from the step alone, the loader alone and the loop itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.loop_shares import bottleneck, shares_of_time

PREFIX, STAGE_UNIT = "loop, ", ", ms"


def named_bottlenecks(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A sentence for each loop that was measured together with its step and the loader.

    Args:
        figures: of each timing, by its name.
    """
    loader, sentences = figures.get("loader", {}), {}
    stages = {name: ms for name, ms in figures.get("loader's stages", {}).items() if name.endswith(STAGE_UNIT)}
    for name, loop in figures.items():
        step = figures.get(f"step, {name.removeprefix(PREFIX)}", {})
        if not (name.startswith(PREFIX) and loop and step and loader):
            continue
        shares = shares_of_time(
            loop_seconds=1 / loop["pairs_per_second"],
            waiting_share=loop["waiting_share"],
            step_seconds=1 / step["pairs_per_second"],
            loader_seconds=loader["workers"] / loader["pairs_per_second"],
            cores=loader["workers"],
            on_cpu=loop["device"] == "cpu",
        )
        sentences[name.removeprefix(PREFIX)] = (
            f"{bottleneck(shares, stages, processes=1)} (loop {loop['pairs_per_second']:,.0f} pairs/s, step alone "
            f"{step['pairs_per_second']:,.0f}, loader alone {loader['pairs_per_second']:,.0f} with "
            f"{loader['workers']} workers)"
        )
    return sentences
