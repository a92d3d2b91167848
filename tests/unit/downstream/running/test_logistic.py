"""Regressions on frozen embeddings: the authors' plain one, and the one whose strength validation chooses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from downstream.running.logistic import REGULARISATION_GRID, Labelled, fit_logistic, fit_plain

GENERATOR = np.random.default_rng(0)
CENTRES = GENERATOR.normal(0, 1, (3, 40))


def labelled(count: int, seed: int, noise: float = 3.0) -> Labelled:
    """Three overlapping classes in 40 dimensions of unlike scales: few items can be learned by heart."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, count)
    scales = np.linspace(0.1, 5, 40)
    features = (CENTRES[labels] + generator.normal(0, noise, (count, 40))) * scales
    return features.astype(np.float32), labels


def f1_of(strength: float, train: Labelled, scored: Labelled) -> float:
    """By the letter: standardised by the training part's statistics, fitted on it alone, scored elsewhere."""
    scaler = StandardScaler().fit(train[0])
    regression = LogisticRegression(C=strength, max_iter=2000).fit(scaler.transform(train[0]), train[1])
    found: float = f1_score(scored[1], regression.predict(scaler.transform(scored[0])), average="weighted")
    return found


@pytest.mark.parametrize("seed", range(3))
def test_strength_is_chosen_on_the_validation_part_and_nowhere_else(seed: int) -> None:
    train, val = labelled(60, seed), labelled(400, 100 + seed)
    on_val = [f1_of(strength, train, val) for strength in REGULARISATION_GRID]
    on_train = [f1_of(strength, train, train) for strength in REGULARISATION_GRID]
    # Training items alone would have the penalty as weak as it takes to learn them by heart.
    best, by_heart = int(np.argmax(on_val)), int(np.argmax(on_train))
    assert REGULARISATION_GRID[best] < REGULARISATION_GRID[by_heart]
    fitted = fit_logistic(train, val)
    assert fitted.strength == REGULARISATION_GRID[best]
    assert fitted.val_f1 == pytest.approx(max(on_val))
    # What was chosen by is not trained on: the classifier is that of the training part.
    scaler = StandardScaler().fit(train[0])
    regression = LogisticRegression(C=fitted.strength, max_iter=2000).fit(scaler.transform(train[0]), train[1])
    expected = regression.predict_proba(scaler.transform(val[0]))
    np.testing.assert_allclose(fitted.probabilities(val[0], 3), expected, atol=1e-4)


def test_equals_go_to_the_strongest_penalty() -> None:
    features = np.array([[-1.0], [1.0]] * 8, dtype=np.float32)
    both = features, np.array([0, 1] * 8)
    assert fit_logistic(both, both).strength == REGULARISATION_GRID[0]


def test_the_authors_regression_takes_features_as_they_are_and_c_1() -> None:
    train, test = labelled(200, 0), labelled(100, 1)
    fitted = fit_plain(train, test, penalised=True)
    expected = LogisticRegression(C=1.0, max_iter=500_000).fit(*train).predict_proba(test[0])
    np.testing.assert_allclose(fitted.probabilities(test[0], 3), expected, atol=1e-4)
    standardised = StandardScaler().fit(train[0])
    other = LogisticRegression(C=1.0, max_iter=500_000).fit(standardised.transform(train[0]), train[1])
    assert np.abs(other.predict_proba(standardised.transform(test[0])) - expected).max() > 0.01
    assert (fitted.strength, fitted.converged) == (1.0, True)


def test_without_penalty_coefficients_are_those_of_a_vanishing_one() -> None:
    train = labelled(600, 0, noise=6.0)
    fitted = fit_plain(train, train, penalised=False)
    vanishing = LogisticRegression(C=1e9, max_iter=500_000).fit(*train)
    np.testing.assert_allclose(fitted.probabilities(train[0], 3), vanishing.predict_proba(train[0]), atol=1e-2)
    penalised = fit_plain(train, train, penalised=True)
    own, smaller = (np.abs(one.pipeline[-1].coef_).sum() for one in (fitted, penalised))
    assert own > smaller
    assert json.dumps(fitted.strength) == "null"
