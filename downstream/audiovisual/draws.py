"""Repeated draws of a training, validation and test split: regressions fitted on each, and scores over all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstream.audiovisual.splits import PairSplit
from downstream.running.logistic import Fitted, Labelled
from downstream.scores import classification_scores, mean_and_sd
from pretrain.training.embedding import PairEmbeddings

INPUTS = ("image", "sound", "mean", "concatenation")
"""Inputs of the regression: one embedding, the mean of both, or their concatenation."""

SHOWN_SCORES = ("precision", "recall", "f1")


@dataclass
class Draw:
    """One draw of the split and its results.

    Attributes:
        seed: of the draw.
        split: the pairs.
        fitted: of each input its classifier.
        probabilities: of each input (num_test, classes).
        scores: of each input, on the test part.
    """

    seed: int
    split: PairSplit
    fitted: dict[str, Fitted] = field(default_factory=dict)
    probabilities: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The record in `results.json`."""
        return {
            "seed": self.seed,
            "num_train": len(self.split.train),
            "num_val": len(self.split.val),
            "num_test": len(self.split.test),
            **{
                name: {**self.scores[name], "val_f1": fitted.val_f1, "regularisation": fitted.strength}
                for name, fitted in self.fitted.items()
            },
        }


def inputs_of(embeddings: PairEmbeddings) -> dict[str, NDArray[np.float32]]:
    """Inputs of the regression by the names in `INPUTS`: (n, d) each, the concatenation (n, 2 d)."""
    image, sound = embeddings.image, embeddings.sound
    mean = ((image + sound) / 2).astype(np.float32, copy=False)
    return dict(zip(INPUTS, (image, sound, mean, np.concatenate([image, sound], 1)), strict=True))


def fit_draw(
    draw: Draw, embeddings: PairEmbeddings, num_classes: int, fit: Callable[[Labelled, Labelled], Fitted]
) -> None:
    """Fits a classifier to each input of a split and scores it on the test items.

    Args:
        draw: gets the classifiers, probabilities and scores.
        embeddings: of all pairs.
        num_classes: of the benchmark.
        fit: from training and validation part to a classifier, one of `downstream.running.logistic`.
    """
    row = {key: i for i, key in enumerate(embeddings.keys)}
    split = draw.split
    rows = {name: [row[pair.key] for pair in getattr(split, name)] for name in ("train", "val", "test")}
    labels = {name: np.array([pair.label for pair in getattr(split, name)]) for name in rows}
    for name, features in inputs_of(embeddings).items():
        fitted = fit((features[rows["train"]], labels["train"]), (features[rows["val"]], labels["val"]))
        draw.fitted[name] = fitted
        draw.probabilities[name] = fitted.probabilities(features[rows["test"]], num_classes)
        draw.scores[name] = classification_scores(labels["test"], draw.probabilities[name].argmax(1))


def summarise(draws: Sequence[Draw]) -> dict[str, dict[str, float | None]]:
    """For each input, the mean of each score over the splits, and its sample standard deviation as `<score>_sd`."""
    return {name: mean_and_sd([draw.scores[name] for draw in draws]) for name in INPUTS}


def sentences(summary: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """One line per input with its scores."""
    lines = []
    for name in INPUTS:
        scores = summary[name]
        figures = ", ".join(f"{score} {scores[score]:.3f} ± {scores[f'{score}_sd']:.3f}" for score in SHOWN_SCORES)
        lines.append(f"{name:>13}: {figures}")
    return lines
