"""Multinomial logistic regression on frozen embeddings: plain, or with its penalty chosen on the validation part."""

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
MAX_ITERATIONS_OF_PAPER = 500_000

Labelled = tuple[NDArray[np.float32], NDArray[np.int64]]
"""(n, d) features and (n,) labels."""


@dataclass(frozen=True)
class Fitted:
    """A fitted classifier.

    Attributes:
        pipeline: the regression, after standardisation with training statistics where the protocol has it.
        strength: the C of the L2 penalty; None: no penalty.
        val_f1: weighted F1 on the validation split.
        converged: whether the solver converged.
    """

    pipeline: Pipeline
    strength: float | None
    val_f1: float
    converged: bool

    def probabilities(self, features: NDArray[np.float32], num_classes: int) -> NDArray[np.float32]:
        """(n, d) → (n, num_classes); classes without training items have probability 0."""
        found = np.zeros((len(features), num_classes), dtype=np.float32)
        found[:, self.pipeline.classes_] = self.pipeline.predict_proba(features)
        return found


def fit_logistic(train: Labelled, val: Labelled) -> Fitted:
    """Fits one regression per value of `REGULARISATION_GRID` and selects the best on the validation part.

    Args:
        train: what to fit on, standardised by its own statistics.
        val: what to choose by, by weighted F1; among equals the strongest regularisation is taken.
    """
    fitted = [
        _fitted(
            make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=MAX_ITERATIONS)),
            strength,
            train,
            val,
        )
        for strength in REGULARISATION_GRID
    ]
    return max(fitted, key=lambda one: one.val_f1)


def fit_plain(train: Labelled, val: Labelled, *, penalised: bool) -> Fitted:
    """Fits the regression of SoundingEarth's authors: features as they are, C = 1 or no penalty, nothing chosen.

    Args:
        train: what to fit on.
        val: scored only.
        penalised: whether there is an L2 penalty.
    """
    regression = LogisticRegression(C=1.0 if penalised else np.inf, max_iter=MAX_ITERATIONS_OF_PAPER)
    return _fitted(make_pipeline(regression), 1.0 if penalised else None, train, val)


def _fitted(pipeline: Pipeline, strength: float | None, train: Labelled, val: Labelled) -> Fitted:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(*train)
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return Fitted(pipeline, strength, classification_scores(val[1], pipeline.predict(val[0]))["f1"], converged)
