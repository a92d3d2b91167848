"""The command that pre-trains: joins the launched processes, trains, and reports how it ended."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pretrain.command_line import PRINT_CONFIG, parse
from shards.command_line.verbs import take_flag
from shards.loading import Loading

if TYPE_CHECKING:
    from pretrain.command_line import Request


def main(words: list[str], command: str) -> None:
    """Parses settings; then trains, or prints the settings or the plan."""
    prints_settings = take_flag(words, PRINT_CONFIG)
    with Loading():
        request = parse(words, command, checks_inputs=not prints_settings)
    if prints_settings:
        from pretrain.settings.files import settings_text

        print(settings_text(request.config), end="")
        return
    if request.dry_run:
        with Loading():
            from pretrain.dry_run import dry_run

        dry_run(request)
        return
    if request.limit_reached:
        from pretrain.distributed import print_once

        more = f"give a larger {request.limit_reached}"
        print_once(f"the run in {request.config.out} is finished; to train it further, {more}")
        return
    preempted = pre_train(request)
    # Only now: the model that was held until here belongs to the process group.
    from pretrain.distributed import leave
    from pretrain.preemption import EXIT_STATUS

    leave()
    if preempted:
        sys.exit(EXIT_STATUS)


def pre_train(request: Request) -> bool:
    """Joins the launched processes, trains, and reports how it ended; whether the run was preempted."""
    with Loading():
        if request.config.data.workers:
            from pretrain.data.loader_processes import start_server

            start_server()
        from pretrain.data.kept_images import kept_images
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
    with PreemptionWatch() as preemption, kept_images(config.data) as decoded:
        task = PreTraining(config, accelerator, decoded, fits_batch=request.fits_batch)
        loop = Loop(task, accelerator, preemption, resume=request.resume)
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
