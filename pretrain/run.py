"""Pre-trains the two towers: `accelerate launch pretrain/run.py --help`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from shards.errors import end_on_sigterm, run_command

if TYPE_CHECKING:
    from pretrain.command_line import Request


def main() -> None:
    """A release, or a conversion; or settings, processes, run folder, training."""
    from pretrain.command_line import parse, parse_conversion, parse_release

    if sys.argv[1:2] == ["release"]:
        from pretrain.releasing.release import release

        end_on_sigterm()
        print("\n".join(release(parse_release(sys.argv[2:]))))
        return

    if sys.argv[1:2] == ["convert"]:
        from pretrain.weights.authors_checkpoint import convert_authors_checkpoint

        end_on_sigterm()
        conversion = parse_conversion(sys.argv[2:])
        print(convert_authors_checkpoint(conversion.file, conversion.out, on_sphere=conversion.on_sphere))
        return

    request = parse(sys.argv[1:])

    preempted = pre_train(request)
    # Only now, for the model that it held belongs to the processes.
    from pretrain.distributed import leave
    from pretrain.preemption import EXIT_STATUS

    leave()
    if preempted:
        sys.exit(EXIT_STATUS)


def pre_train(request: Request) -> bool:
    """Joins the processes that were launched, trains, and says how it ended; whether it was preempted."""
    from pretrain.distributed import print_once
    from pretrain.precision import resolve_precision
    from pretrain.preemption import PreemptionWatch
    from pretrain.pretraining import PreTraining
    from pretrain.training.loop import Loop
    from pretrain.training.preparation import build_missing_demo_shards, open_run_folder
    from pretrain.training.processes import start_accelerator

    config = resolve_precision(request.config)
    accelerator = start_accelerator(config)
    build_missing_demo_shards(config)
    with PreemptionWatch() as preemption:
        loop = Loop(PreTraining(config, accelerator), accelerator, preemption, resume=request.resume)
        with open_run_folder(config):
            summary = loop.run()
    if summary["preempted"]:
        print_once(f"preempted: checkpoint saved at step {summary['step']}; resume with --resume {config.out}")
        return True
    error = summary["best_error"]
    kept = "of the last step" if error is None else f"of step {summary['best_step']}, mean rank {error:.1f}"
    print_once(
        f"done: {summary['epochs']} epochs in {summary['seconds']:.0f} s; the run is in {config.out}, its model, "
        f"{kept}, in {config.out / 'model'}"
    )
    return False


if __name__ == "__main__":
    run_command(main)
