"""The pictures of the report: what they show of which run, and how they stand in its files."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from PIL import Image

from downstream.exhibits import ShownRun
from downstream.landcover.exhibits import PANEL_SIDE, maps_side_by_side
from downstream.reporting.approach_chart import draw_approaches
from downstream.reporting.report import report_from
from downstream.reporting.rows import rows_of_runs
from downstream.reporting.runs import runs_of
from downstream.reporting.score_chart import draw_scores, score_chart
from downstream.reporting.tables import build_tables
from downstream.results import Results
from downstream.running import map_exhibits
from downstream.running.map_exhibits import DrawnMap, maps_by_approach, maps_by_weights, write_maps
from shards.errors import UserError

RED, GREEN, BLUE, YELLOW = (200, 10, 10), (10, 200, 10), (10, 10, 200), (200, 200, 10)


def results(benchmark: str, **changes: Any) -> Results:
    values: dict[str, Any] = {
        **{"benchmark": benchmark, "weights": "random", "backbone": "resnet18", "protocol": "paper", "num_train": 8},
        **{"num_test": 2, "seconds": 1.0, "head_on": "trunk", "seed": 0, "split": "s", "train_fraction": 0.8},
        **{"epochs": [{"epoch": 3, "overall_accuracy": 0.5, "mean_iou": 0.25}]},
    }
    return Results(**values | changes)


def transfer(folder: Path, modality: str, approach: str, f1: float, weights: str = "imagenet") -> None:
    epoch = {"epoch": 3, "precision": 0.5, "recall": 0.25, "f1": f1, "precision_sd": 0.1, "recall_sd": 0.05}
    details = {"approach": approach, "modality": modality, "sound_weights": "random", "num_seeds": 3}
    results("advance-transfer", weights=weights, epochs=[{**epoch, "f1_sd": 0.02}], details=details).write(folder)


def land_cover(folder: Path, colour: tuple[int, int, int], keys: tuple[str, ...] = ("3", "7"), **changes: Any) -> None:
    results("deepglobe", **changes).write(folder)
    (folder / "maps").mkdir()
    for key in keys:
        for part, shown in (("tile", (90, 90, 90)), ("truth", YELLOW), ("prediction", colour)):
            Image.new("RGB", (64, 64), shown).save(folder / "maps" / f"{key}_{part}.png")


def shown(*folders: Path) -> list[ShownRun]:
    return [ShownRun(folder, Results.read(folder), folder.name, "ResNet-18") for folder in folders]


def columns_of(png: bytes, colour: tuple[int, int, int]) -> tuple[float, int]:
    """Mean column of the pixels of a colour, and how many panels of it stand one below the other."""
    pixels = np.array(Image.open(BytesIO(png)).convert("RGB")).astype(int)
    mask = np.abs(pixels - colour).max(-1) < 12
    rows = np.flatnonzero(mask.any(1))
    return float(np.argwhere(mask)[:, 1].mean()), 1 + int((np.diff(rows) > 1).sum())


def test_bars_are_the_measured_scores_and_diamonds_the_published_ones(tmp_path: Path) -> None:
    transfer(tmp_path / "a", "sound", "L_s", 0.4)
    transfer(tmp_path / "b", "sound", "L_s + L_E", 0.6)
    transfer(tmp_path / "c", "both", "L_s", 0.7)
    (table,) = build_tables(rows_of_runs(runs_of([tmp_path])))
    figure = draw_approaches(table)
    sound, both = figure.axes
    # Score by score, and within a score approach by approach.
    assert [patch.get_height() for patch in sound.patches] == pytest.approx([50, 50, 25, 25, 40, 60])
    assert [patch.get_height() for patch in both.patches] == pytest.approx([50, 25, 70])
    assert [label.get_text() for label in sound.get_xticklabels()] == ["L_s", "L_s + L_E"]
    marks = [
        [float(mark.get_offsets()[0, 1]) for mark in axes.collections if isinstance(mark, PathCollection)]
        for axes in (sound, both)
    ]
    # Table 2 of Hu et al.: L_s and L_s + L_E, and their F-score of both under L_s.
    assert marks == [[30.46, 31.14, 32.99, 33.80, 28.99, 29.66], [72.71]]
    whiskers = [line.get_segments()[0][:, 1] for line in both.collections if isinstance(line, LineCollection)]
    np.testing.assert_allclose(whiskers, [(40, 60), (20, 30), (68, 72)])


def test_a_table_is_drawn_row_by_row_with_its_deviations(tmp_path: Path) -> None:
    for seed, iou in enumerate((0.2, 0.3)):
        epochs = [{"epoch": 3, "overall_accuracy": 0.5, "mean_iou": iou}]
        results("deepglobe", seed=seed, epochs=epochs).write(tmp_path / f"{seed}")
    (table,) = build_tables(rows_of_runs(runs_of([tmp_path])))
    accuracies, ious = draw_scores(table, table.rows, list(table.columns)).axes
    dots = [line for line in ious.lines if line.get_marker() != "None"]
    assert [float(line.get_xdata()[0]) for line in dots] == [row.figures["mean_iou"].mean for row in table.rows]
    assert [line.get_marker() for line in dots] == ["o" if row.origin == "measured" else "D" for row in table.rows]
    (whisker,) = (line for line in ious.lines if line.get_marker() == "None")
    sd = 5 * 2**0.5
    assert list(whisker.get_xdata()) == pytest.approx([25 - sd, 25 + sd])
    assert [label.get_text() for label in accuracies.get_yticklabels()].count("Random, ResNet-18") == 2
    exhibit = score_chart(table, 1)
    assert exhibit is not None
    assert exhibit.name == "deepglobe-scores-1"
    one = replace(table, rows=table.rows[:1])
    assert score_chart(one, 1) is None


def test_names_of_weights_with_signs_of_formulas_are_drawn_as_they_are(tmp_path: Path) -> None:
    transfer(tmp_path / "a", "sound", "L_s", 0.4, weights="runs/$a_{$")
    transfer(tmp_path / "b", "sound", "L_s", 0.5, weights="runs/$\\frac$")
    report_from([str(tmp_path), "--out", str(tmp_path / "report")])
    assert (tmp_path / "report" / "advance-transfer-approaches.png").is_file()


def test_maps_stand_side_by_side_a_row_for_each_tile(tmp_path: Path) -> None:
    land_cover(tmp_path / "a", RED)
    land_cover(tmp_path / "b", GREEN, weights="imagenet")
    land_cover(tmp_path / "c", BLUE, weights="imagenet", seed=1)  # the same model under another seed
    (exhibit,) = maps_side_by_side(shown(*(tmp_path / name for name in "abc")))
    assert exhibit.name == "deepglobe-maps"
    assert "Tiles 3, 7" in exhibit.caption
    places = [columns_of(exhibit.png, colour) for colour in ((90, 90, 90), YELLOW, RED, GREEN)]
    assert [column for column, _ in places] == sorted(column for column, _ in places)
    assert places[2][1] == places[3][1] == 2
    pixels = np.array(Image.open(BytesIO(exhibit.png)).convert("RGB")).astype(int)
    assert not (np.abs(pixels - BLUE).max(-1) < 12).any()


def test_tiles_that_models_do_not_share_are_left_out(tmp_path: Path) -> None:
    land_cover(tmp_path / "a", RED, ("3", "7"))
    land_cover(tmp_path / "b", GREEN, ("7", "9"), weights="imagenet")
    (exhibit,) = maps_side_by_side(shown(tmp_path / "a", tmp_path / "b"))
    assert "Tiles 7 with" in exhibit.caption
    land_cover(tmp_path / "c", GREEN, ("1",), weights="w")
    assert maps_side_by_side(shown(tmp_path / "a", tmp_path / "c")) == []
    # A run of an earlier version has no panels.
    results("deepglobe", weights="old").write(tmp_path / "d")
    assert maps_side_by_side(shown(tmp_path / "a", tmp_path / "d")) == []
    assert maps_side_by_side(shown(tmp_path / "d")) == []


def test_panels_that_are_none_are_refused(tmp_path: Path) -> None:
    for name, colour in (("a", RED), ("b", GREEN)):
        land_cover(tmp_path / name, colour, weights=name)
    panel = tmp_path / "b" / "maps" / "3_prediction.png"
    panel.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"3_prediction\.png can't be read as a PNG: .*; run the benchmark again"):
        maps_side_by_side(shown(tmp_path / "a", tmp_path / "b"))
    Image.new("RGB", (PANEL_SIDE + 1, 4)).save(panel)
    with pytest.raises(UserError, match=rf"at most {PANEL_SIDE} pixels a side, got {PANEL_SIDE + 1}"):
        maps_side_by_side(shown(tmp_path / "a", tmp_path / "b"))


def explained(folder: Path, colour: tuple[int, int, int], odds: dict[str, float], **changes: Any) -> None:
    results("advance-transfer", **changes).write(folder)
    write_maps(
        folder / "explain",
        [DrawnMap(key, "beach", share, solid(YELLOW), solid(colour)) for key, share in odds.items()],
    )


def solid(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((32, 32, 3), colour, np.uint8)


def approach(name: str, modality: str = "both") -> dict[str, Any]:
    return {"details": {"approach": name, "modality": modality}}


def test_activation_maps_of_shared_images_stand_side_by_side(tmp_path: Path) -> None:
    explained(tmp_path / "a", RED, {"x": 0.1, "y": 0.2, "z": 0.3}, **approach("L_s", "image"))
    explained(tmp_path / "b", GREEN, {"z": 0.9, "y": 0.8}, **approach("L_s + L_E"))
    explained(tmp_path / "c", BLUE, {"y": 0.5, "z": 0.5}, **approach("L_s + L_E"))  # that approach again
    results("advance-transfer", **approach("L_s")).write(tmp_path / "d")  # without --explain
    runs = shown(*(tmp_path / name for name in "abcd"))
    (exhibit,) = maps_by_approach(runs)
    assert exhibit.caption.startswith("Class activation maps of 2 test images by 2 runs")
    places = [columns_of(exhibit.png, colour) for colour in (YELLOW, RED, GREEN)]
    assert [column for column, _ in places] == sorted(column for column, _ in places)
    assert [count for _, count in places] == [2, 2, 2]
    pixels = np.array(Image.open(BytesIO(exhibit.png)).convert("RGB")).astype(int)
    assert not (np.abs(pixels - BLUE).max(-1) < 12).any()
    assert maps_by_approach(runs[1:]) == []
    assert len(maps_by_weights(runs[:2])) == 1
    assert maps_by_weights([runs[0], replace(runs[1], weights=runs[0].weights)]) == []


def test_each_map_has_the_probability_of_its_own_run_and_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explained(tmp_path / "a", RED, {"x": 0.1, "y": 0.2, "z": 0.3}, **approach("L_s"))
    explained(tmp_path / "b", GREEN, {"z": 0.9, "y": 0.8}, **approach("L_s + L_E"))
    drawn: list[Any] = []
    monkeypatch.setattr(map_exhibits, "_draw", lambda columns, rows: drawn.extend((columns, rows)) or Figure())
    maps_by_approach(shown(tmp_path / "a", tmp_path / "b"))
    columns, rows = drawn
    assert columns == ["image", "L_s", "L_s + L_E"]
    assert [[note for _, note in panels] for _, panels in rows] == [["", "0.20", "0.80"], ["", "0.30", "0.90"]]


@pytest.mark.parametrize("record", ["[{}]", '[{"key": "y", "label": "a", "probability": 7}]', "no JSON"])
def test_records_of_maps_that_are_none_are_refused(tmp_path: Path, record: str) -> None:
    for name in "ab":
        explained(tmp_path / name, RED, {"y": 0.2}, **approach(name))
    (tmp_path / "b" / "explain" / "maps" / "maps.json").write_text(record)
    with pytest.raises(UserError, match=r"maps\.json.*run the benchmark again"):
        maps_by_approach(shown(tmp_path / "a", tmp_path / "b"))


def test_the_report_holds_its_pictures_and_lies_beside_them(tmp_path: Path) -> None:
    land_cover(tmp_path / "a", RED)
    land_cover(tmp_path / "b", GREEN, weights="imagenet")
    report_from([str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "report")])
    png = (tmp_path / "report" / "deepglobe-maps.png").read_bytes()
    html = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    chart = (tmp_path / "report" / "deepglobe-scores-1.png").read_bytes()
    embedded = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert [base64.b64decode(picture) for picture in embedded] == [chart, png]
    assert "img-src data:;" in html
    assert '<a href="#deepglobe-maps">' in html
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "](deepglobe-maps.png)" in text
