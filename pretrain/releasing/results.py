"""Results of retrieval and of downstream tasks, as a model card shows them: read from their files and checked."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from pretrain.model_files import WEIGHTS_NAME
from pretrain.releasing.model_card import FIGURES
from shards.checksums import file_sha256
from shards.errors import UserError

RETRIEVAL_NAME = "metrics.json"
DOWNSTREAM_NAME = "results.json"
DIRECTIONS = ("image_to_sound", "sound_to_image")
NOT_A_SCORE = ("epoch", "loss", "seconds")
NO_WEIGHTS_OF_OURS = ("random", "imagenet", "pretrained", "–")
"""What results name where none of a run's weights were used; the last by what only hears."""


@dataclass
class ShownResults:
    """What `--results` gave.

    Attributes:
        retrieval: contents of `metrics.json` files.
        downstream: contents of `results.json` files.
        untraced: folders that record no checksum of their weights, so that nobody can tell whether they are these.
    """

    retrieval: list[dict[str, Any]] = field(default_factory=list)
    downstream: list[dict[str, Any]] = field(default_factory=list)
    untraced: list[Path] = field(default_factory=list)


def read_results(folders: tuple[Path, ...], model_folder: Path) -> ShownResults:
    """Reads what retrieval and downstream wrote into folders.

    Args:
        folders: the `--out` of `retrieval/run.py evaluate` or `downstream/run.py`.
        model_folder: of the weights that they must be results of.

    Raises:
        UserError: a folder without results, a file of another shape, or results of other weights.
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
    """The last scores of a `results.json`, by name, as text; means stand with their deviation.

    Scores of parts, such as "image" or "concatenation", are named `<part> <score>`.
    """
    flat = _numbers(record["epochs"][-1])
    return {
        score.replace("_", " "): f"{number:.3f}" + (f" ± {flat[f'{score}_sd']:.3f}" if f"{score}_sd" in flat else "")
        for score, number in flat.items()
        if not score.endswith("_sd") and not any(word in score for word in NOT_A_SCORE)
    }


def _numbers(epoch: dict[str, Any]) -> dict[str, float]:
    """The numbers of an epoch, those of parts too."""
    flat: dict[str, float] = {}
    for name, value in epoch.items():
        parts = {f"{name} {inner}": number for inner, number in value.items()} if isinstance(value, dict) else {}
        for score, number in (parts or {name: value}).items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                flat[score] = float(number)
    return flat


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} can't be read as results: {error}; make them again") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} holds a {type(record).__name__}, not results; make them again")
    return record


def _check_retrieval(record: dict[str, Any], path: Path) -> None:
    if not _is_count(record.get("gallery_size")) or not isinstance(record.get("protocol"), str):
        raise _other_shape(path, "protocol and gallery_size")
    for part in (*DIRECTIONS, "chance"):
        figures = record.get(part)
        for name in FIGURES:
            # Where k exceeds the gallery there is no recall.
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
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _other_shape(path: Path, missing: str) -> UserError:
    return UserError(
        f"{path} holds no results of Earshot's: it lacks {missing}; give the --out of retrieval/run.py evaluate or of "
        "downstream/run.py"
    )


def _is_of(record: dict[str, Any], model_folder: Path, results: Path) -> bool:
    """Whether results are of these weights; False where they don't record the checksum of theirs.

    Raises:
        UserError: they are of others.
    """
    weights, checksum = record.get("weights"), record.get("weights_sha256")
    if weights not in NO_WEIGHTS_OF_OURS:
        if checksum is None:
            return False
        if checksum == file_sha256(model_folder / WEIGHTS_NAME):
            return True
    raise UserError(
        f"{results} holds results of the weights {weights} as they were then, which are not those of {model_folder}; "
        "compute them again, or omit it"
    )
