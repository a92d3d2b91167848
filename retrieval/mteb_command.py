"""The verb `mteb`: runs a model on tasks of the package mteb."""

from __future__ import annotations

from retrieval.embedding import make_folder
from retrieval.mteb_model import MtebModel, import_mteb, run_tasks
from retrieval.options import MtebOptions
from shards.errors import UserError


def run_mteb(options: MtebOptions) -> dict[str, float]:
    """Runs `mteb`, and prints the main score of each task.

    Returns:
        Name of each task → its main score.

    Raises:
        UserError: a mistake in the options or the weights, or the package is not installed.
    """
    options.check()
    mteb = import_mteb()
    try:
        tasks = list(mteb.get_tasks(tasks=list(options.tasks)))
    except KeyError as error:
        raise UserError(f"tasks: mteb has no such task: {error}; see mteb.get_tasks()") from error
    make_folder(options.out)
    scores = run_tasks(
        MtebModel(options.weights, options.device, options.crops), tasks, options.out, options.batch_size
    )
    for name, score in scores.items():
        print(f"{name}: {score:.4f}")
    print(
        "mteb does not state from which part of SoundingEarth the places of its tasks were sampled: take a model that "
        "was trained on SoundingEarth to have seen most of them"
    )
    print(f"results: {options.out}")
    return scores
