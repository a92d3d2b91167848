"""Pictures of mapped tiles, and which tiles are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from downstream.landcover.deepglobe import DEEPGLOBE_CLASSES
from downstream.landcover.pictures import MARGIN, PANEL_SIDE, draw_class_confusion, draw_tile, spread_by_accuracy
from downstream.landcover.scores import tile_confusion
from downstream.landcover.tiles import UNKNOWN, TileImage


@pytest.mark.parametrize(("height", "width"), [(1200, 1000), (64, 64), (40, 300)])
def test_panels_show_tile_truth_and_prediction(height: int, width: int) -> None:
    rgb = np.full((height, width, 3), 90, dtype=np.uint8)
    truth = np.full((height, width), 4, dtype=np.uint8)  # water
    truth[: height // 2] = UNKNOWN
    predicted = np.full((height // 2, width // 2), 3, dtype=np.uint8)  # forest
    confusion = tile_confusion(truth, np.full_like(truth, 3), 6)
    picture = draw_tile("7", TileImage(rgb, truth), predicted, confusion, DEEPGLOBE_CLASSES)
    pixels = np.array(picture).astype(int)
    assert picture.height <= PANEL_SIDE + 200
    panels_bottom = pixels.shape[0] - 110
    red, green, blue = pixels[panels_bottom].transpose()
    grey = (red == 90) & (green == 90) & (blue == 90)
    water, forest = blue > np.maximum(red, green) + 60, green > np.maximum(red, blue) + 60
    assert grey.any()
    assert water.any()
    assert forest.any()
    order = [np.flatnonzero(mask).mean() for mask in (grey, water, forest)]
    assert order == sorted(order)
    assert not grey[:MARGIN].any()


def test_tiles_are_spread_from_the_worst_to_the_best() -> None:
    accuracies = [0.9, 0.1, None, 0.5, 0.3]
    assert spread_by_accuracy(accuracies, 9) == [1, 4, 3, 0, 2]
    assert spread_by_accuracy(accuracies, 2) == [1, 2]
    assert spread_by_accuracy([float(i) for i in range(100)], 24)[:2] == [0, 4]
    assert len(set(spread_by_accuracy([0.5] * 100, 24))) == 24


def test_the_confusion_has_a_cell_for_each_pair_of_classes_and_takes_absent_ones() -> None:
    truth = np.array([0, 0, 1, 3], dtype=np.uint8)
    right, wrong = (
        np.array(draw_class_confusion(tile_confusion(truth, predicted, 6), DEEPGLOBE_CLASSES))
        for predicted in (truth, np.array([0, 0, 3, 3], dtype=np.uint8))
    )
    changed = np.argwhere((right != wrong).any(-1))
    assert right.shape == wrong.shape
    # Agriculture, the second row, was predicted as forest, so nothing changes above it but the title.
    assert changed[changed[:, 0] > 120][:, 0].min() > 200
    draw_class_confusion(np.zeros((6, 6), dtype=np.int64), DEEPGLOBE_CLASSES)
