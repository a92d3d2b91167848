"""`results.json` and `predictions.csv`: the results of a benchmark."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shards.atomic_files import write_text_atomically
from shards.csv_text import csv_text
from shards.errors import UserError

RESULTS_NAME = "results.json"
PREDICTIONS_NAME = "predictions.csv"


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
    num_train: int
    num_test: int
    epochs: list[dict[str, Any]]
    seconds: float
    head_on: str
    seed: int
    split: str
    train_fraction: float
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
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
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise UserError(
                f"no results in {folder}: {error.strerror}; give the --out of a finished benchmark"
            ) from error
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} is not a results file: {error}") from error


def write_predictions(folder: Path, header: list[str], rows: list[list[object]]) -> Path:
    """Writes `predictions.csv`, with one row per item."""
    path = folder / PREDICTIONS_NAME
    write_text_atomically(path, csv_text(header, rows))
    return path
