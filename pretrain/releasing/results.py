"""Results of retrieval and downstream tasks for a model card: read from their files and checked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypeGuard

from typing_extensions import TypedDict  # pydantic takes that of Python 3.12 or this one

from pretrain.model_files import WEIGHTS_NAME
from pretrain.ranking.scores import Intervals
from pretrain.releasing.model_card import FIGURES
from pretrain.scores import PERCENT
from shards.checksums import file_sha256
from shards.errors import UserError
from shards.records import as_number, checked, read_json_as

RETRIEVAL_NAME = "metrics.json"
DOWNSTREAM_NAME = "results.json"
DIRECTIONS = ("image_to_sound", "sound_to_image")
NOT_A_SCORE = ("epoch", "loss", "seconds")
SHARES = ("accuracy", "precision", "recall", "f1", "iou")
"""Ends of the names of scores that are fractions, which are shown in percent; others are shown as they are."""
NO_WEIGHTS_OF_OURS = ("random", "imagenet", "pretrained", "–")
"""What results record as weights if none of a run's were used; "–" is that of sound-only results."""


class _Evaluation(TypedDict):
    """What of `metrics.json` is checked by type alone."""

    intervals: NotRequired[Intervals]


@dataclass
class ShownResults:
    """The results given by `--results`.

    Attributes:
        retrieval: contents of `metrics.json` files.
        downstream: contents of `results.json` files.
        untraced: folders that record no checksum of their weights, so they may be results of other weights.
    """

    retrieval: list[dict[str, Any]] = field(default_factory=list)
    downstream: list[dict[str, Any]] = field(default_factory=list)
    untraced: list[Path] = field(default_factory=list)


def read_results(folders: tuple[Path, ...], model_folder: Path) -> ShownResults:
    """Reads the results that retrieval and downstream wrote to folders.

    Args:
        folders: the `--out` of `retrieval/run.py evaluate` or `downstream/run.py`.
        model_folder: model folder of the weights that the results must belong to.

    Raises:
        UserError: a folder has no results, a file has another structure, or results belong to other weights.
    """
    shown = ShownResults()
    for folder in folders:
        found = [folder / name for name in (RETRIEVAL_NAME, DOWNSTREAM_NAME) if (folder / name).is_file()]
        if not found:
            raise UserError(
                f"results {folder} holds neither {RETRIEVAL_NAME} nor {DOWNSTREAM_NAME}; give the --out of "
                "retrieval/run.py evaluate or of downstream/run.py"
            )
        for path in found:
            record = _read(path)
            if path.name == RETRIEVAL_NAME:
                _check_retrieval(record, path)
                shown.retrieval.append(record)
            else:
                _check_downstream(record, path)
                shown.downstream.append(record)
            if not _is_of(record, model_folder, path):
                shown.untraced.append(folder)
    return shown


def scores_of(record: dict[str, Any]) -> dict[str, str]:
    """Returns the last scores of a `results.json`, by name, as text; means are shown with their standard deviation.

    Scores of parts, such as "image" or "concatenation", are named `<part> <score>`.
    """
    flat = _numbers(record["epochs"][-1])
    return {
        score.replace("_", " "): " ± ".join(
            _shown(score, n) for n in (number, flat.get(f"{score}_sd")) if n is not None
        )
        + (" %" if _is_share(score) else "")
        for score, number in flat.items()
        if not score.endswith("_sd") and not any(word in score for word in NOT_A_SCORE)
    }


def _is_share(score: str) -> bool:
    return score.endswith(SHARES)


def _shown(score: str, value: float) -> str:
    return PERCENT.show(value) if _is_share(score) else f"{value:.3f}"


def _numbers(epoch: dict[str, Any]) -> dict[str, float]:
    """Returns the numbers of an epoch, including those of parts."""
    flat: dict[str, float] = {}
    for name, value in epoch.items():
        parts = {f"{name} {inner}": number for inner, number in value.items()} if isinstance(value, dict) else {}
        for score, number in (parts or {name: value}).items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                known = as_number(number)
                flat[score] = math.nan if known is None else known
    return flat


def _read(path: Path) -> dict[str, Any]:
    return read_json_as(dict[str, Any], path, "compute them again")


def _check_retrieval(record: dict[str, Any], path: Path) -> None:
    checked(_Evaluation, record, str(path), "compute it again")
    if not _is_count(record.get("gallery_size")) or not isinstance(record.get("protocol"), str):
        raise _other_shape(path, "protocol and gallery_size")
    for part in (*DIRECTIONS, "chance"):
        figures = record.get(part)
        for name in FIGURES:
            # There is no recall at k if k exceeds the gallery.
            value = figures.get(name, "missing") if isinstance(figures, dict) else "missing"
            low, high = (1.0, float(record["gallery_size"])) if name == "median_rank" else (0.0, 1.0)
            is_missing = value is None and name != "median_rank"
            if not is_missing and not (_is_number(value) and low <= value <= high):
                raise _other_shape(path, f"a number from {low:g} to {high:g} as {part}.{name}")


def _check_downstream(record: dict[str, Any], path: Path) -> None:
    for name in ("benchmark", "protocol", "backbone"):
        if not isinstance(record.get(name), str):
            raise _other_shape(path, name)
    for name in ("num_train", "num_test"):
        if not _is_count(record.get(name)):
            raise _other_shape(path, name)
    epochs = record.get("epochs")
    if not isinstance(epochs, list) or not epochs or not isinstance(epochs[-1], dict):
        raise _other_shape(path, "epochs, a list with scores")
    if not all(map(_is_number, _numbers(epochs[-1]).values())):
        raise _other_shape(path, "finite scores in its last epoch")
    if not scores_of(record):
        raise _other_shape(path, "a score in its last epoch")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_number(value: object) -> TypeGuard[float]:
    return as_number(value) is not None


def _other_shape(path: Path, missing: str) -> UserError:
    return UserError(
        f"{path} is not a results file of Earshot's: it lacks {missing}; give the --out of retrieval/run.py evaluate "
        "or of downstream/run.py"
    )


def _is_of(record: dict[str, Any], model_folder: Path, results: Path) -> bool:
    """Returns whether results belong to these weights; False if they record no checksum of theirs.

    Raises:
        UserError: they belong to other weights.
    """
    weights, checksum = record.get("weights"), record.get("weights_sha256")
    if weights not in NO_WEIGHTS_OF_OURS:
        if checksum is None:
            return False
        if checksum == file_sha256(model_folder / WEIGHTS_NAME):
            return True
    raise UserError(
        f"{results} holds results of the weights {weights} as they were then, which differ from those of "
        f"{model_folder}; compute them again, or omit it"
    )
