"""The verb `mteb`: runs a model on tasks of the package mteb."""

from __future__ import annotations

from typing import Any

from retrieval.embedding import make_folder
from retrieval.mteb_model import MtebModel, import_mteb, only_modality, run_tasks
from retrieval.options import MtebOptions
from shards.command_line.dry_runs import check_can_be_written, print_plan
from shards.errors import UserError


def run_mteb(options: MtebOptions) -> dict[str, float]:
    """Runs `mteb`, and prints the main score of each task.

    Returns:
        Name of each task → its main score.

    Raises:
        UserError: a mistake in the options or the weights, or the package is not installed.
    """
    options.check()
    tasks = _tasks(options)
    make_folder(options.out)
    scores = run_tasks(
        MtebModel(options.weights, options.device, options.crops), tasks, options.out, options.batch_size
    )
    for name, score in scores.items():
        print(f"{name}: {score:.4f}")
    print(
        "mteb does not state from which part of SoundingEarth the places of its tasks were sampled: assume that a "
        "model trained on SoundingEarth has seen most of them"
    )
    print(f"results: {options.out}")
    return scores


def dry_run_mteb(options: MtebOptions) -> None:
    """Prints what `mteb` would do; the weights are opened, no data set is downloaded and nothing is written.

    Raises:
        UserError: as `mteb`, as far as it does not depend on the data, and of tasks that would be refused.
    """
    check_can_be_written(options.out)
    tasks = _tasks(options)
    from mteb.types import PromptType

    for task in tasks:
        for part in (PromptType.query, PromptType.document):
            only_modality(task.metadata, part)
    model = MtebModel(options.weights, options.device, options.crops)
    names = [task.metadata.name for task in tasks]
    print_plan(
        {
            "weights": f"{options.weights}, {model.mteb_model_meta.embed_dim} dimensions",
            "tasks": ", ".join(names),
            "reads": ", ".join(task.metadata.dataset["path"] for task in tasks)
            + " from the Hugging Face hub, or from its cache",
            "batches": f"of {options.batch_size}, sound crops: {options.crops}",
            "writes": f"{options.out}: {', '.join(f'{name}.json' for name in names)}, in the folders of mteb's cache",
        }
    )


def _tasks(options: MtebOptions) -> list[Any]:
    """The tasks of the package by their names.

    Raises:
        UserError: the package is not installed, or has no such task.
    """
    mteb = import_mteb()
    try:
        return list(mteb.get_tasks(tasks=list(options.tasks)))
    except KeyError as error:
        raise UserError(f"tasks: mteb has no such task: {error}; see mteb.get_tasks()") from error
