"""Scene recognition on frozen features: logistic regression, nearest neighbours, nearest centroid of a few images.

The encoder is frozen, and each image passes through it once. Hyperparameters (the C of the regression, the k of the
neighbours) are selected on a validation split taken from the training items, from grids that are the same for all
weights (here, and `REGULARISATION_GRID`). Then the method is fitted on all training items and scored once on the test
items.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from downstream.running.heads import SceneClassifier
from downstream.running.images import WholeImage
from downstream.running.inference import ImageReader, outputs_in_order
from downstream.running.items import SceneItem
from downstream.running.logistic import MAX_ITERATIONS, REGULARISATION_GRID
from downstream.running.pictures import Margins
from downstream.running.splits import Split, few_shot_split, stratified_split
from downstream.scenes.job import SceneJob, SceneOutcome
from downstream.scores import classification_scores, mean_and_sd
from pretrain import distributed

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.float32]
Fit = Callable[[Features, Labels, Features, int, float], Probabilities]
"""(features, labels, queries, number of classes, hyperparameter) → class probabilities of the queries."""

VAL_FRACTION = 0.2
"""Share of each class's training items for validation."""

NUMBERS_OF_NEIGHBOURS = (1, 3, 5, 10, 20, 50)
"""Candidate values of k for `knn`."""

SHOTS = 5
"""Training images per class for `few-shot`."""


@dataclass(frozen=True)
class Probe:
    """A method on frozen features.

    Attributes:
        fit: fits and predicts.
        choice: name of the hyperparameter in results; empty if there is none.
        grid: its candidate values; ties are resolved by the first.
        margins: (features, labels, queries, their labels, predicted labels) → (n,) how wrong each prediction is, for
            methods whose probabilities don't tell; None: by probability.
        margin_words: what these margins are.
    """

    fit: Fit
    choice: str = ""
    grid: tuple[float, ...] = (0.0,)
    margins: Callable[[Features, Labels, Features, Labels, Labels], NDArray[np.float64]] | None = None
    margin_words: str = ""


def logistic_regression(
    features: Features, labels: Labels, queries: Features, num_classes: int, inverse_penalty: float
) -> Probabilities:
    """Multinomial logistic regression on standardised features."""
    scaler = StandardScaler().fit(features.astype(np.float64))
    model = LogisticRegression(C=inverse_penalty, max_iter=MAX_ITERATIONS)
    model.fit(scaler.transform(features), labels)
    return _of_all_classes(model.predict_proba(scaler.transform(queries)), model.classes_, num_classes)


def nearest_neighbours(
    features: Features, labels: Labels, queries: Features, num_classes: int, num_neighbours: float
) -> Probabilities:
    """Votes of the k nearest neighbours by cosine distance, weighted by distance to avoid ties."""
    k = min(int(num_neighbours), len(features))
    model = KNeighborsClassifier(n_neighbors=k, metric="cosine", weights="distance").fit(features, labels)
    return _of_all_classes(model.predict_proba(queries), model.classes_, num_classes)


def neighbour_margins(
    features: Features, labels: Labels, queries: Features, truth: Labels, predicted: Labels
) -> NDArray[np.float64]:
    """How much nearer the predicted class is than the true one: by the nearest training image of each, (n,).

    A cosine distance minus another, in [−2, 2]; the greatest possible where the true class has no training image. Votes
    can't order mistakes: with one neighbour each is certain.
    """
    unit, seen = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (queries, features))
    nearest = np.full((len(queries), int(max(labels.max(), truth.max(), predicted.max())) + 1), 2.0)
    for label in np.unique(labels):
        nearest[:, label] = 1 - (unit @ seen[labels == label].T).max(1)
    rows = np.arange(len(queries))
    return nearest[rows, truth] - nearest[rows, predicted]


def nearest_centroid(
    features: Features, labels: Labels, queries: Features, num_classes: int, _choice: float
) -> Probabilities:
    """The nearest class mean by Euclidean distance; probabilities are the softmax of the negative distances."""
    classes = np.unique(labels)
    centroids = np.stack([features[labels == label].mean(0, dtype=np.float64) for label in classes])
    distances = np.stack([np.linalg.norm(queries - centroid, axis=1) for centroid in centroids], axis=1)
    weights = np.exp(distances.min(1, keepdims=True) - distances)
    return _of_all_classes(weights / weights.sum(1, keepdims=True), classes, num_classes)


PROBES: dict[str, Probe] = {
    "linear": Probe(logistic_regression, "C", REGULARISATION_GRID),
    "knn": Probe(
        nearest_neighbours,
        "k",
        NUMBERS_OF_NEIGHBOURS,
        neighbour_margins,
        "margin: cosine distance to the nearest training image of the class, minus that of the predicted class",
    ),
    "few-shot": Probe(nearest_centroid),
}
"""Probes by the name of their protocol."""


def run_frozen(job: SceneJob) -> SceneOutcome:
    """Scores a probe over several splits; the features are computed once, on all processes."""
    started = time.monotonic()
    probe = PROBES[job.settings.protocol]
    features = extract_features(job)
    splits = [draw_split(job, seed) for seed in job.seeds]
    # The probes are small, so the first process fits them; the others don't need the results.
    runs = []
    for seed, split in zip(job.seeds, splits, strict=True) if distributed.is_first() else ():
        row = {item.key: i for i, item in enumerate(job.data.items)}
        probabilities, margins, record, scores = _run_split(probe, features, row, split, len(job.data.classes))
        distributed.print_once(f"seed {seed}: accuracy {scores['accuracy']:.3f} on {len(split.test)} test images")
        runs.append((probabilities, margins, {"seed": seed, **record}, scores))
    details = {"seeds": [{**record, **scores} for *_, record, scores in runs], "num_features": features.shape[1]}
    if probe.choice:
        details["grid"] = {probe.choice: list(probe.grid)}
    return SceneOutcome(
        split=splits[0],
        probabilities=runs[0][0] if runs else np.empty((0, len(job.data.classes)), dtype=np.float32),
        epochs=[{"epoch": 0, **mean_and_sd([scores for *_, scores in runs])}],
        seconds=time.monotonic() - started,
        seeds=job.seeds,
        details=details,
        margins=runs[0][1] if runs else None,
    )


def draw_split(job: SceneJob, seed: int) -> Split:
    """The split of a seed: five training images per class for `few-shot`, otherwise the usual share with validation."""
    if job.settings.protocol == "few-shot":
        return few_shot_split(job.data.items, SHOTS, seed)
    return stratified_split(job.data.items, job.train_fraction, seed, val_fraction=VAL_FRACTION)


def extract_features(job: SceneJob) -> Features:
    """The encoder's pooled features (items, features), in the items' order, on every process."""
    settings, device = job.settings, job.accelerator.device
    module = SceneClassifier(job.encoder, 1, on_embedding=False).to(device).eval()
    batch_size = max(1, settings.batch_size // distributed.num_processes())
    view = WholeImage(settings.image_size)
    return outputs_in_order(
        lambda batch: module.features(batch["image"]),
        ImageReader(job.data.items, view, batch_size=batch_size, workers=settings.workers),
        width=job.encoder.num_features,
        device=device,
        precision=settings.precision,
        title="computing features",
    )


def _run_split(
    probe: Probe, features: Features, row: dict[str, int], split: Split, num_classes: int
) -> tuple[Probabilities, Margins | None, dict[str, Any], dict[str, float]]:
    """Selects on the validation part and fits on the whole training part.

    Returns:
        The probabilities of the test part, the margins of its predictions, the selection, and the test scores.
    """
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = (
        _part(features, row, items) for items in (split.train, split.val, split.test)
    )
    record: dict[str, Any] = {}
    choice = probe.grid[0]
    if probe.choice:
        candidates = {
            value: float((probe.fit(train_x, train_y, val_x, num_classes, value).argmax(1) == val_y).mean())
            for value in probe.grid
        }
        choice = max(candidates, key=lambda value: candidates[value])
        record = {probe.choice: choice, "val_accuracy": {f"{value:g}": found for value, found in candidates.items()}}
        train_x, train_y = np.concatenate([train_x, val_x]), np.concatenate([train_y, val_y])
    probabilities = probe.fit(train_x, train_y, test_x, num_classes, choice)
    predicted = probabilities.argmax(1)
    margins = None
    if probe.margins is not None:
        margins = Margins(probe.margins(train_x, train_y, test_x, test_y, predicted), probe.margin_words)
    return probabilities, margins, record, classification_scores(test_y, predicted)


def _part(features: Features, row: dict[str, int], items: list[SceneItem]) -> tuple[Features, Labels]:
    rows = np.array([row[item.key] for item in items], dtype=np.int64)
    return features[rows], np.array([item.label for item in items], dtype=np.int64)


def _of_all_classes(found: NDArray[np.float64], classes: Labels, num_classes: int) -> Probabilities:
    """Adds a column of zeros for each class without training items."""
    whole = np.zeros((len(found), num_classes), dtype=np.float32)
    whole[:, classes] = found
    return whole
