"""Pre-trains the two towers: `accelerate launch pretrain/run.py --help`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from shards.command_line import Verb, answer_version
from shards.errors import run_command

if TYPE_CHECKING:
    from pretrain.command_line import Request

VERBS = {
    "release": Verb("pretrain.releasing.options:ReleaseOptions", "pretrain.releasing.release:run_release"),
    "convert": Verb("pretrain.weights.options:ConvertOptions", "pretrain.weights.authors_checkpoint:convert"),
}
"""First words that do something else than training."""


def main() -> None:
    """Releases or converts weights; otherwise parses settings and trains."""
    words = sys.argv[1:]
    answer_version(words[:1])
    if words and words[0] in VERBS:
        VERBS[words[0]].carry_out(words[1:], f"python pretrain/run.py {words[0]}")
        return
    from pretrain.command_line import parse

    preempted = pre_train(parse(words))
    # Only now: the model that was held until here belongs to the process group.
    from pretrain.distributed import leave
    from pretrain.preemption import EXIT_STATUS

    leave()
    if preempted:
        sys.exit(EXIT_STATUS)


def pre_train(request: Request) -> bool:
    """Joins the launched processes, trains, and reports how it ended; whether the run was preempted."""
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
        loop = Loop(PreTraining(config, accelerator, decoded), accelerator, preemption, resume=request.resume)
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
