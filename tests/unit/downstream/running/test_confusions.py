"""Confusion matrices on one scale, side by side in the report, and mistakes in an order that is stated."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from downstream.exhibits import ShownRun
from downstream.landcover.deepglobe import DEEPGLOBE_CLASSES
from downstream.landcover.pictures import draw_class_confusion
from downstream.results import Results, write_predictions
from downstream.running.confusion_exhibit import confusions_of_runs
from downstream.running.confusion_picture import BAR_WORDS, SCALE, Confusion, draw_confusions
from downstream.running.pictures import Margins, worst_mistakes
from downstream.scenes.frozen import nearest_neighbours, neighbour_margins
from shards.errors import UserError

CLASSES = ["beach", "=forest"]


def make_run(folder: Path, pairs: list[tuple[str, str]], details: dict[str, Any] | None = None) -> ShownRun:
    details = {"classes": CLASSES} | (details or {})
    epochs = [{"epoch": 0, "accuracy": 0.5}]
    record = ("folder", folder.name, "resnet18", "knn", 5, 5, epochs, 1.0, "trunk", 3, "s", 0.5)
    results = Results(*record, details=details)
    results.write(folder)
    if pairs:
        write_predictions(folder, ["key", "class", "predicted"], [[str(n), *pair] for n, pair in enumerate(pairs)])
    return ShownRun(folder, results, folder.name, "ResNet-18")


def test_all_matrices_have_one_scale_of_shares_and_one_bar() -> None:
    often, rarely = np.array([[10, 0], [5, 5]]), np.array([[1, 3], [0, 4]])
    figure = draw_confusions([Confusion("a", often), Confusion("b", rarely)], CLASSES)
    *matrices, bar = figure.axes
    shares = [axes.images[0] for axes in matrices]
    assert [image.get_clim() for image in shares] == [(0, 1), (0, 1)]
    np.testing.assert_allclose(shares[0].get_array(), [[1, 0], [0.5, 0.5]])
    np.testing.assert_allclose(shares[1].get_array(), [[0.25, 0.75], [0, 1]])
    assert {image.cmap.name for image in shares} == {SCALE.name}
    assert bar.get_title(loc="left") == BAR_WORDS
    assert [label.get_text() for label in matrices[0].get_xticklabels()] == CLASSES


def test_land_cover_is_on_the_same_scale() -> None:
    matrix = np.zeros((6, 6), dtype=np.int64)
    matrix[0, 1], matrix[0, 0] = 3, 1
    pixels = np.array(draw_class_confusion(matrix, DEEPGLOBE_CLASSES)).reshape(-1, 3)
    for share in (0.25, 0.75):
        colour = np.round(np.array(to_rgb(SCALE(share))) * 255)
        assert (np.abs(pixels - colour).max(1) <= 1).sum() > 2000


def test_the_exhibit_counts_predictions_and_takes_stated_matrices(tmp_path: Path) -> None:
    pairs = [("beach", "beach"), ("beach", "=forest"), ("=forest", "=forest")]
    first = make_run(tmp_path / "a", pairs)
    stated = make_run(tmp_path / "b", [], {"confusion_matrix": [[7, 1], [0, 2]]})
    without, others = make_run(tmp_path / "c", []), make_run(tmp_path / "d", [], {"classes": ["x", "y"]})
    (exhibit,) = confusions_of_runs([first, stated, without, others])
    assert exhibit.name == "folder-confusions"
    assert exhibit.caption.startswith("Of 2 of 4 runs: ")
    one, two = (Image.open(BytesIO(confusions_of_runs(runs)[0].png)).size for runs in ([first], [first, stated]))
    assert (one[0], 2 * one[1] > two[1] > 1.5 * one[1]) == (two[0], True)
    assert confusions_of_runs([without]) == []
    assert confusions_of_runs([first])[0].png == confusions_of_runs([first])[0].png


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1, -1], [0, 0]], "many", [[1, True], [0, 0]]])
def test_matrices_that_are_none_are_refused(tmp_path: Path, matrix: Any) -> None:
    run = make_run(tmp_path / "a", [], {"confusion_matrix": matrix})
    with pytest.raises(UserError, match=r"confusion_matrix of the results in .*a must be 2 rows of 2 counts; run the"):
        confusions_of_runs([run])
    assert json.loads((tmp_path / "a" / "results.json").read_text())["details"]["confusion_matrix"] == matrix


def test_predictions_of_unknown_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"predictions.csv names a class that .*results.json has not"):
        confusions_of_runs([make_run(tmp_path / "a", [("beach", "sea")])])
    with pytest.raises(UserError, match=r"predictions.csv is not a table of comma-separated values \("):
        confusions_of_runs([make_run(tmp_path / "b", [("beach", "x" * 200_000)])])


def test_mistakes_of_neighbours_are_ordered_by_distance() -> None:
    """With one neighbour all votes are certain, so that probabilities order nothing."""
    angles = np.deg2rad([0, 90, 180])
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = np.array([0, 1, 2])
    seen = np.deg2rad([40, 10, 30, 95])
    queries = (5 * np.stack([np.cos(seen), np.sin(seen)], 1)).astype(np.float32)
    truth = np.array([1, 1, 2, 1])
    found = nearest_neighbours(features, labels, queries, 3, 1)
    predicted = found.argmax(1)
    margins = neighbour_margins(features, labels, queries, truth, predicted)
    expected = [np.cos(seen[i] - angles[predicted[i]]) - np.cos(seen[i] - angles[truth[i]]) for i in range(4)]
    np.testing.assert_allclose(margins, expected, atol=1e-6)
    assert worst_mistakes(truth, found, 9) == [0, 1, 2]
    assert worst_mistakes(truth, found, 9, Margins(margins, "margin")) == [2, 1, 0]


def test_equal_confidence_is_ordered_by_the_true_class() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.6, 0.1, 0.3], [0.7, 0.2, 0.1]], np.float32)
    assert worst_mistakes(np.array([1, 1, 1]), probabilities, 9) == [2, 1, 0]
