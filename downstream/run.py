"""Tries trained weights on downstream tasks: `accelerate launch downstream/run.py --help`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from shards.errors import run_command

if TYPE_CHECKING:
    from downstream.command_line import Request


def main() -> None:
    """A report over results, or a benchmark: settings, processes, folder, running."""
    if sys.argv[1:2] == ["report"]:
        from downstream.reporting.report import report_from

        report_from(sys.argv[2:])
        return

    from downstream.command_line import parse

    request = parse(sys.argv[1:])

    finished = fine_tune(request)
    # Only now, for the model that it held belongs to the processes.
    from pretrain.distributed import leave
    from pretrain.preemption import EXIT_STATUS

    leave()
    if not finished:
        sys.exit(EXIT_STATUS)


def fine_tune(request: Request) -> bool:
    """Joins the processes that were launched and runs the benchmark; whether it came to its end."""
    from downstream.kinds import run_benchmark
    from pretrain.distributed import print_once
    from pretrain.precision import resolve_precision
    from pretrain.preemption import PreemptionWatch
    from pretrain.training.preparation import open_run_folder
    from pretrain.training.processes import start_accelerator

    settings = resolve_precision(request.settings)
    accelerator = start_accelerator(settings)
    with PreemptionWatch() as preemption, open_run_folder(settings):
        finished = run_benchmark(settings, accelerator, preemption, resume=request.resume)
    if not finished:
        print_once(f"asked to make room: saved; go on with --resume {settings.out}")
    return finished


if __name__ == "__main__":
    run_command(main)
