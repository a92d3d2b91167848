"""Pre-trains the two towers: `accelerate launch pretrain/run.py --help`."""

from __future__ import annotations

import sys

from shards.errors import run_command


def main() -> None:
    """Settings, processes, run folder, training."""
    from pretrain.command_line import parse

    request = parse(sys.argv[1:])

    from pretrain.loop import Loop
    from pretrain.precision import resolve_precision
    from pretrain.preemption import EXIT_STATUS, PreemptionWatch
    from pretrain.preparation import build_missing_demo_shards, open_run_folder
    from pretrain.processes import start_accelerator
    from pretrain.trainer import PreTraining

    config = resolve_precision(request.config)
    accelerator = start_accelerator(config)
    build_missing_demo_shards(config)
    with PreemptionWatch() as preemption:
        loop = Loop(PreTraining(config, accelerator), accelerator, preemption, resume=request.resume)
        with open_run_folder(config):
            summary = loop.run()
    if summary["preempted"]:
        accelerator.print(
            f"asked to make room: saved at step {summary['step']}; go on with --resume {config.out}", flush=True
        )
        sys.exit(EXIT_STATUS)
    accelerator.print(
        f"done: {summary['epochs']} epochs in {summary['seconds']:.0f} s, best mean rank "
        f"{summary['best_error']:.1f} after step {summary['best_step']}; the run is in {config.out}, "
        f"its model in {config.out / 'model'}"
    )


if __name__ == "__main__":
    run_command(main)
