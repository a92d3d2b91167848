"""`results.json` and `predictions.csv`: the results of a benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes that of Python 3.12 or this one

from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text
from shards.errors import UserError
from shards.records import Count, Finite, knowing, read_json_as, shortened, shown

RESULTS_NAME = "results.json"
PREDICTIONS_NAME = "predictions.csv"


Training = TypedDict("Training", {"optimizer.name": str, "optimizer.learning_rate": Finite, "precision": str})
"""How a network was trained, in `Results.details`."""


class Draw(TypedDict, total=False):
    """One of several seeds of a benchmark, in `Results.details`."""

    seed: Count


class Details(TypedDict, total=False):
    """What is known of the types in `Results.details`; kinds of benchmarks add their own."""

    num_seeds: Annotated[int, Field(ge=1, lt=2**31)]
    seeds: list[Draw]
    training: Training | None


class Epoch(TypedDict):
    """What is known of the types in an entry of `Results.epochs`."""

    epoch: Count


@dataclass
class Results:
    """One benchmark on one set of weights.

    Attributes:
        benchmark: name of the benchmark.
        weights: the weights as given on the command line.
        backbone: name of the encoder.
        protocol: name of the protocol.
        num_train, num_test: number of items used.
        epochs: one entry per epoch, with its scores; protocols over several splits have a single entry, with the mean
            of each score and its sample standard deviation as `<score>_sd` (None for one split).
        seconds: time for training and scoring.
        head_on: "embedding" or "trunk".
        seed: seed of the run.
        split: description of the split.
        train_fraction: share of the items used for training.
        notes: notes for readers, such as missing classes.
        details: entries specific to a kind of benchmark, such as classes.
        weights_sha256: checksum of the weights' `model.safetensors`; None for weights from elsewhere, and in results
            written by older versions.
    """

    benchmark: str
    weights: str
    backbone: str
    protocol: str
    num_train: Count
    num_test: Count
    epochs: Annotated[list[Annotated[dict[str, Any], knowing(Epoch)]], Field(min_length=1)]
    seconds: Finite
    head_on: str
    seed: int
    split: str
    train_fraction: Finite
    notes: list[str] = field(default_factory=list)
    details: Annotated[dict[str, Any], knowing(Details)] = field(default_factory=dict)
    weights_sha256: str | None = None

    def write(self, folder: Path) -> Path:
        """Writes `results.json`."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / RESULTS_NAME
        write_text_atomically(path, json.dumps(asdict(self), indent=1) + "\n")
        return path

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Reads `results.json` in a folder.

        Raises:
            UserError: the file is missing or invalid.
        """
        path = folder / RESULTS_NAME
        if not path.exists():
            raise UserError(f"no results in {folder}: no such file; give the --out of a finished benchmark")
        return read_json_as(cls, path, "run the benchmark again")

    def detail(self, name: str) -> str:
        """A detail that the kind of benchmark always states, as text.

        Raises:
            UserError: it is missing, or no text.
        """
        value = self.details.get(name)
        if not isinstance(value, str):
            raise UserError(
                f"results of {shortened(self.benchmark)} must state details.{name}, a text, they hold {shown(value)}; "
                "run the benchmark again"
            )
        return value


def write_predictions(folder: Path, header: list[str], rows: list[list[object]]) -> Path:
    """Writes `predictions.csv`, with one row per item."""
    path = folder / PREDICTIONS_NAME
    write_text_atomically(path, csv_text(header, rows))
    return path
