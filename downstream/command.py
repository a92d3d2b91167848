"""The command that runs a benchmark: its settings, then the run or the plan of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from downstream.command_line import parse
from shards.loading import Loading

if TYPE_CHECKING:
    from downstream.command_line import Request


def main(words: list[str], command: str) -> None:
    """Parses the settings of a benchmark; then runs it, or prints the plan."""
    with Loading():
        request = parse(words, command)
    if request.dry_run:
        with Loading():
            from downstream.dry_run import dry_run

        dry_run(request)
        return
    finished = fine_tune(request)
    # Only after the run has released its model, which uses the process group.
    from pretrain.distributed import leave
    from pretrain.preemption import EXIT_STATUS

    leave()
    if not finished:
        sys.exit(EXIT_STATUS)


def fine_tune(request: Request) -> bool:
    """Joins the launched processes and runs the benchmark; returns False if it was preempted."""
    with Loading():
        from downstream.benchmarks import BENCHMARKS
        from pretrain.distributed import print_once
        from pretrain.precision import resolve_precision
        from pretrain.preemption import PreemptionWatch
        from pretrain.training.preparation import open_run_folder
        from pretrain.training.processes import start_accelerator

        settings = resolve_precision(request.settings)
        accelerator = start_accelerator(settings)
    with PreemptionWatch() as preemption, open_run_folder(settings):
        benchmark = BENCHMARKS[settings.benchmark]
        finished = benchmark.kind.run(benchmark, settings, accelerator, preemption, resume=request.resume)
    if not finished:
        print_once(f"preempted: checkpoint saved; resume with --resume {settings.out}")
    return finished
