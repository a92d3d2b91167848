"""Multinomial logistic regression on frozen embeddings, with regularisation selected on the validation split."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from downstream.scores import classification_scores

REGULARISATION_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Candidate inverse strengths C of the L2 penalty; larger ones regularise less."""

MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier.

    Attributes:
        pipeline: standardisation with training statistics, then the regression.
        strength: the selected C.
        val_f1: weighted F1 on the validation split.
        converged: whether the solver converged within `MAX_ITERATIONS`.
    """

    pipeline: Pipeline
    strength: float
    val_f1: float
    converged: bool

    def probabilities(self, features: NDArray[np.float32], num_classes: int) -> NDArray[np.float32]:
        """(n, d) → (n, num_classes); classes without training items have probability 0."""
        found = np.zeros((len(features), num_classes), dtype=np.float32)
        found[:, self.pipeline.classes_] = self.pipeline.predict_proba(features)
        return found


def fit_logistic(
    train: tuple[NDArray[np.float32], NDArray[np.int64]], val: tuple[NDArray[np.float32], NDArray[np.int64]]
) -> Fitted:
    """Fits one regression per value of `REGULARISATION_GRID` and selects the best on the validation part.

    Args:
        train: (n, d) features and (n,) labels to fit on.
        val: features and labels to choose by, by weighted F1; among equals the strongest regularisation is taken.
    """
    best: Fitted | None = None
    for strength in REGULARISATION_GRID:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_ITERATIONS))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            pipeline.fit(*train)
        converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        val_f1 = classification_scores(val[1], pipeline.predict(val[0]))["f1"]
        if best is None or val_f1 > best.val_f1:
            best = Fitted(pipeline, strength, val_f1, converged)
    assert best is not None
    return best
