"""Scores of land-cover maps on hand-made masks, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score

from downstream.landcover.scores import accuracy, class_ious, landcover_scores, tile_confusion

CLASSES = ["urban", "agriculture", "rangeland", "forest", "water", "barren"]
X = 255  # unknown

TRUTH_A = np.array([[0, 0, 1, X], [0, 3, 3, X]], dtype=np.uint8)
PREDICTED_A = np.array([[0, 1, 1, 0], [0, 3, 1, 5]], dtype=np.uint8)
TRUTH_B = np.array([[X, X, X, X], [X, X, 1, 3]], dtype=np.uint8)
PREDICTED_B = np.array([[0, 2, 4, 5], [0, 1, 2, 3]], dtype=np.uint8)


def hand_made() -> list[np.ndarray]:
    return [tile_confusion(TRUTH_A, PREDICTED_A, 6), tile_confusion(TRUTH_B, PREDICTED_B, 6)]


def test_hand_made_masks_with_unknown_pixels_and_absent_classes() -> None:
    """By hand: A has 6 known pixels, 4 right; B has 2, 1 right. Class 2 is predicted but never there; 4 and 5 are
    neither there nor predicted on a known pixel."""
    scores = landcover_scores(hand_made(), CLASSES)
    assert scores["overall_accuracy"] == pytest.approx((4 / 6 + 1 / 2) / 2)
    assert scores["pooled_accuracy"] == pytest.approx(5 / 8)
    assert scores["iou"] == {
        "urban": pytest.approx(2 / 3),  # 2 hits; 3 there, 2 predicted
        "agriculture": pytest.approx(1 / 4),  # 1 hit; 2 there, 3 predicted
        "rangeland": 0.0,
        "forest": pytest.approx(2 / 3),  # 2 hits; 3 there, 2 predicted
        "water": None,
        "barren": None,
    }
    assert scores["mean_iou"] == pytest.approx((2 / 3 + 1 / 4 + 0 + 2 / 3) / 4)


def test_unknown_pixels_count_nowhere() -> None:
    everywhere = PREDICTED_A.copy()
    everywhere[TRUTH_A == X] = 4
    assert (tile_confusion(TRUTH_A, everywhere, 6) == tile_confusion(TRUTH_A, PREDICTED_A, 6)).all()
    assert tile_confusion(TRUTH_A, PREDICTED_A, 6).sum() == 6


def test_a_tile_of_unknown_pixels_alone_is_left_out_of_the_mean() -> None:
    nothing = tile_confusion(np.full((4, 4), X, dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8), 6)
    assert accuracy(nothing) is None
    assert class_ious(nothing) == [None] * 6
    assert landcover_scores([*hand_made(), nothing], CLASSES) == landcover_scores(hand_made(), CLASSES)
    alone = landcover_scores([nothing], CLASSES)
    assert (alone["overall_accuracy"], alone["pooled_accuracy"], alone["mean_iou"]) == (None, None, None)


def test_iou_is_pooled_over_tiles_and_not_averaged() -> None:
    big = tile_confusion(np.zeros(90, dtype=np.uint8), np.zeros(90, dtype=np.uint8), 6)
    small = tile_confusion(np.zeros(10, dtype=np.uint8), np.ones(10, dtype=np.uint8), 6)
    scores = landcover_scores([big, small], CLASSES)
    assert scores["iou"]["urban"] == pytest.approx(0.9)
    assert scores["overall_accuracy"] == pytest.approx(0.5)
    assert scores["pooled_accuracy"] == pytest.approx(0.9)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    present = generator.permutation(6)[: 3 + seed % 4]
    tiles = []
    for _ in range(3):
        truth = generator.choice([*present, X], (20, 30)).astype(np.uint8)
        wrong = generator.uniform(size=truth.shape) < 0.4
        predicted = np.where(wrong | (truth == X), generator.choice(present, truth.shape), truth).astype(np.uint8)
        tiles.append((truth, predicted))
    scores = landcover_scores([tile_confusion(truth, predicted, 6) for truth, predicted in tiles], CLASSES)

    known = [(truth[truth != X], predicted[truth != X]) for truth, predicted in tiles]
    truth, predicted = (np.concatenate(part) for part in zip(*known, strict=True))
    assert (tile_confusion(truth, predicted, 6) == confusion_matrix(truth, predicted, labels=range(6))).all()
    assert scores["overall_accuracy"] == pytest.approx(np.mean([accuracy_score(*tile) for tile in known]))
    assert scores["pooled_accuracy"] == pytest.approx(accuracy_score(truth, predicted))
    labels = sorted(int(label) for label in present)
    expected = dict(zip(labels, jaccard_score(truth, predicted, labels=labels, average=None), strict=True))
    for label, name in enumerate(CLASSES):
        assert scores["iou"][name] == (pytest.approx(expected[label]) if label in expected else None)
    assert scores["mean_iou"] == pytest.approx(jaccard_score(truth, predicted, labels=labels, average="macro"))
