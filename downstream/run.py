"""Tries trained weights on downstream tasks: `accelerate launch downstream/run.py --help`."""

from __future__ import annotations

import sys

from shards.errors import run_command


def main() -> None:
    """A report over results, or a benchmark: settings, processes, folder, running."""
    if sys.argv[1:2] == ["report"]:
        from downstream.report import report_from

        report_from(sys.argv[2:])
        return

    from downstream.command_line import parse

    request = parse(sys.argv[1:])

    from downstream.running import run_benchmark
    from pretrain.distributed import leave, print_once
    from pretrain.precision import resolve_precision
    from pretrain.preemption import EXIT_STATUS, PreemptionWatch
    from pretrain.preparation import open_run_folder
    from pretrain.processes import start_accelerator

    settings = resolve_precision(request.settings)
    accelerator = start_accelerator(settings)
    with PreemptionWatch() as preemption, open_run_folder(settings):
        finished = run_benchmark(settings, accelerator, preemption, resume=request.resume)
    if not finished:
        print_once(f"asked to make room: saved; go on with --resume {settings.out}")
    leave()
    if not finished:
        sys.exit(EXIT_STATUS)


if __name__ == "__main__":
    run_command(main)
