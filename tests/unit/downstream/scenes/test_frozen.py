"""Probes on frozen features: exact answers on small cases, choices made on the validation part alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_folders import settings_of, small_job, write_scenes

from downstream.running.heads import SceneClassifier
from downstream.running.images import WholeImage
from downstream.running.items import SceneItem
from downstream.running.splits import Split, few_shot_split
from downstream.scenes import frozen
from downstream.scenes.frozen import (
    PROBES,
    Probe,
    logistic_regression,
    nearest_centroid,
    nearest_neighbours,
    run_frozen,
)
from downstream.scores import mean_and_sd
from shards.decoding.imagery import load_image

CORNERS = np.array([[0, 0], [0, 2], [4, 0], [4, 2]], dtype=np.float32)
LABELS = np.array([0, 0, 2, 2])


def test_nearest_centroid_by_hand() -> None:
    # Centroids are (0, 1) and (4, 1); class 1 has none.
    queries = np.array([[0, 1], [3, 1], [2, 1]], dtype=np.float32)
    found = nearest_centroid(CORNERS, LABELS, queries, 3, 0.0)
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found[0], [1 / (1 + np.exp(-4)), 0, np.exp(-4) / (1 + np.exp(-4))], rtol=1e-5)
    np.testing.assert_allclose(found[1], [np.exp(-2) / (1 + np.exp(-2)), 0, 1 / (1 + np.exp(-2))], rtol=1e-5)
    np.testing.assert_allclose(found[2], [0.5, 0, 0.5])


def test_neighbours_are_near_by_angle_and_not_by_length() -> None:
    features = np.array([[1, 0], [100, 1], [0, 1]], dtype=np.float32)
    labels = np.array([0, 1, 2])
    queries = np.array([[1, 0.02], [0.5, 100]], dtype=np.float32)
    assert nearest_neighbours(features, labels, queries, 3, 1).argmax(1).tolist() == [1, 2]
    # Of more neighbours than there are items all vote, the nearer the more.
    found = nearest_neighbours(features, labels, queries, 4, 50)
    assert found.argmax(1).tolist() == [1, 2]
    assert (found[:, :3] > 0).all()
    assert (found[:, 3] == 0).all()


def test_logistic_regression_standardises_and_knows_absent_classes() -> None:
    generator = np.random.default_rng(0)
    labels = np.array([0, 2] * 20)
    # What tells the classes apart is a thousandth of the size of what does not.
    features = np.stack([generator.normal(0, 1000, 40), labels + generator.normal(0, 0.1, 40)], 1).astype(np.float32)
    found = logistic_regression(features[:20], labels[:20], features[20:], 3, 1.0)
    assert (found.argmax(1) == labels[20:]).all()
    assert (found[:, 1] == 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    weak = logistic_regression(features[:20], labels[:20], features[20:], 3, 1e-4)
    assert weak.max() < 0.6 < found.max()


def test_the_choice_is_made_on_the_validation_part_and_the_rest_is_fitted_anew() -> None:
    calls: list[tuple[list[float], list[float], float]] = []

    def fit(
        features: np.ndarray, labels: np.ndarray, queries: np.ndarray, num_classes: int, choice: float
    ) -> np.ndarray:
        calls.append((features[:, 0].tolist(), queries[:, 0].tolist(), choice))
        # The validation items are 2 and 3, of class 1; every choice from 5 on is right about them.
        right = choice >= 5
        return np.tile(np.array([[0.0, 1.0]] if right else [[1.0, 0.0]], dtype=np.float32), (len(queries), 1))

    items = [SceneItem(f"{i}", Path(f"{i}"), label) for i, label in enumerate([0, 1, 1, 1, 0, 0])]
    split = Split(items[:2], items[4:], items[2:4], "by hand")
    features = np.arange(6, dtype=np.float32)[:, None]
    row = {item.key: i for i, item in enumerate(items)}
    _, _, record, scores = frozen._run_split(Probe(fit, "k", (1.0, 5.0, 7.0)), features, row, split, 2)
    assert record == {"k": 5.0, "val_accuracy": {"1": 0.0, "5": 1.0, "7": 1.0}}
    assert calls[:3] == [([0.0, 1.0], [2.0, 3.0], choice) for choice in (1.0, 5.0, 7.0)]
    assert calls[3:] == [([0.0, 1.0, 2.0, 3.0], [4.0, 5.0], 5.0)]
    assert scores["accuracy"] == 0.0


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "root", 12, noise=45.0)


@pytest.mark.parametrize("protocol", PROBES)
def test_colours_are_told_apart_on_several_splits(protocol: str, scenes: Path, tmp_path: Path) -> None:
    job = small_job(settings_of(protocol, scenes, tmp_path, num_seeds=3, seed=4))
    outcome = run_frozen(job)
    assert outcome.seeds == [4, 5, 6]
    assert outcome.split.num_labelled == (15 if protocol == "few-shot" else 18)
    assert outcome.probabilities.shape == (len(outcome.split.test), 3)
    accuracies = [seed["accuracy"] for seed in outcome.details["seeds"]]
    (scores,) = outcome.epochs
    assert scores["epoch"] == 0
    assert scores["accuracy"] == pytest.approx(np.mean(accuracies))
    assert scores["accuracy_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    truth = [item.label for item in outcome.split.test]
    assert (outcome.probabilities.argmax(1) == truth).mean() == pytest.approx(accuracies[0])
    assert scores["accuracy"] > 0.6
    for seed in outcome.details["seeds"]:
        assert PROBES[protocol].choice in seed or protocol == "few-shot"


def test_features_do_not_hang_on_batches_and_loader_processes(scenes: Path, tmp_path: Path) -> None:
    alone = frozen.extract_features(small_job(settings_of("knn", scenes, tmp_path)))
    changed = dataclasses.replace(settings_of("knn", scenes, tmp_path), batch_size=17, workers=2)
    np.testing.assert_allclose(frozen.extract_features(small_job(changed)), alone, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_features_are_in_the_order_of_the_items(scenes: Path, tmp_path: Path) -> None:
    job = small_job(settings_of("knn", scenes, tmp_path))
    features = frozen.extract_features(job)
    classifier = SceneClassifier(job.encoder, 1, on_embedding=False)
    for i in (0, 7, len(job.data.items) - 1):
        pixels = torch.from_numpy(WholeImage(32)(load_image(job.data.items[i].path).rgb, 0))
        np.testing.assert_allclose(features[i], classifier.features(pixels[None])[0], rtol=1e-4, atol=1e-5)


def test_few_shot_draws_by_protocol(scenes: Path, tmp_path: Path) -> None:
    job = small_job(settings_of("few-shot", scenes, tmp_path))
    assert len(job.seeds) >= 10
    assert frozen.draw_split(job, 3) == few_shot_split(job.data.items, 5, 3)


def test_mean_and_sd() -> None:
    assert mean_and_sd([{"accuracy": 0.5}, {"accuracy": 0.7}]) == {
        "accuracy": pytest.approx(0.6),
        "accuracy_sd": pytest.approx(0.2 / 2**0.5),
    }
    assert mean_and_sd([{"f1": 0.5}]) == {"f1": 0.5, "f1_sd": None}
    assert mean_and_sd([]) == {}
