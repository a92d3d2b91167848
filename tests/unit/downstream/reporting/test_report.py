"""The report over results: seeds merge, published rows stand beside ours, and untrusted texts stay texts."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from downstream.benchmarks import BENCHMARKS, kind_of
from downstream.reporting.formats import comma_separated, markdown, page
from downstream.reporting.published import PUBLISHED
from downstream.reporting.report import NAMES, report_from
from downstream.reporting.rows import Figure, rows_of_runs
from downstream.reporting.runs import runs_of, short_names
from downstream.reporting.tables import build_tables
from downstream.results import Results
from pretrain.scores import Score, Unit
from shards.errors import UserError

TRAINING = {"optimizer.name": "adam", "optimizer.learning_rate": 1e-5, "precision": "bf16"}


def write_results(folder: Path, **changes: Any) -> Path:
    """Results of UC Merced under the published protocol, with changes."""
    values: dict[str, Any] = {
        **{"benchmark": "ucmerced", "weights": "random", "backbone": "resnet18", "protocol": "paper"},
        **{"num_train": 1050, "num_test": 1050, "seconds": 1.0, "head_on": "trunk", "seed": 0},
        **{"split": "even items train, odd ones test", "train_fraction": 0.5},
        "epochs": [{"epoch": 1, "accuracy": 0.1}, {"epoch": 2, "accuracy": 0.2}, {"epoch": 5, "accuracy": 0.5}],
        "details": {"image_size": 256, "num_seeds": 1},
    }
    Results(**{**values, **changes}).write(folder)
    return folder


def of_seed(seed: int, last: float) -> dict[str, Any]:
    return {"seed": seed, "epochs": [{"epoch": 1, "accuracy": 0.1 * seed}, {"epoch": 5, "accuracy": last}]}


def test_seeds_of_the_same_settings_become_one_row(tmp_path: Path) -> None:
    for seed, last in enumerate((0.5, 0.6, 0.8)):
        write_results(tmp_path / str(seed), **of_seed(seed, last))
    write_results(tmp_path / "other", weights="imagenet", **of_seed(0, 0.9))
    rows = rows_of_runs(runs_of([tmp_path]))
    assert [(row.weights, row.seeds) for row in rows] == [("Random", "seeds 0, 1, 2"), ("ImageNet", "seed 0")]
    figures = rows[0].figures
    assert figures["accuracy_5"].mean == pytest.approx(100 * np.mean([0.5, 0.6, 0.8]))
    assert figures["accuracy_5"].sd == pytest.approx(100 * np.std([0.5, 0.6, 0.8], ddof=1))
    assert figures["accuracy_1"] == Figure(pytest.approx(10), pytest.approx(10))  # type: ignore[arg-type]
    assert rows[1].figures["accuracy_5"].sd is None


@pytest.mark.parametrize(
    "change",
    [
        {"head_on": "embedding"},
        {"backbone": "resnet50"},
        {"num_train": 1000},
        {"notes": ["2090 of 2100 images"]},
        {"details": {"image_size": 64, "num_seeds": 1}},
        {"details": {"image_size": 256, "num_seeds": 1, "training": TRAINING}},
        {"weights_sha256": "other weights that lie where the first ones lay"},
        {"epochs": [{"epoch": 1, "accuracy": 0.1}]},
    ],
)
def test_other_settings_stay_rows_of_their_own(tmp_path: Path, change: dict[str, Any]) -> None:
    write_results(tmp_path / "a")
    write_results(tmp_path / "b", **{"seed": 1, **change})
    assert len(rows_of_runs(runs_of([tmp_path / "a", tmp_path / "b"]))) == 2


def test_rows_say_how_they_were_trained(tmp_path: Path) -> None:
    for name, rate in (("a", 1e-5), ("b", 2e-2)):
        training = {**TRAINING, "optimizer.learning_rate": rate}
        write_results(tmp_path / name, details={"training": training})
    conditions = [row.conditions for row in rows_of_runs(runs_of([tmp_path]))]
    assert ["adam, learning rate 1e-05, bf16" in of for of in conditions] == [True, False]
    assert ["adam, learning rate 0.02, bf16" in of for of in conditions] == [False, True]


def test_means_over_draws_merge_to_the_deviation_of_all(tmp_path: Path) -> None:
    values = np.random.default_rng(0).uniform(size=(3, 5))
    for seed, draws in enumerate(values):
        entry = {"epoch": 0, "accuracy": draws.mean(), "accuracy_sd": draws.std(ddof=1)}
        details = {"num_seeds": 5}
        write_results(tmp_path / str(seed), seed=seed, protocol="linear", epochs=[entry], details=details)
    (row,) = rows_of_runs(runs_of([tmp_path]))
    assert row.figures["accuracy"].mean == pytest.approx(100 * values.mean())
    assert row.figures["accuracy"].sd == pytest.approx(100 * values.std(ddof=1))
    assert row.seeds == "5 draws × seeds 0, 1, 2"
    (alone,) = rows_of_runs(runs_of([tmp_path / "1"]))
    assert alone.figures["accuracy"].sd == pytest.approx(100 * values[1].std(ddof=1))


def test_draws_that_two_runs_share_are_not_counted_twice(tmp_path: Path) -> None:
    for seed in (0, 3, 5):
        seeds = [{"seed": seed + draw} for draw in range(5)]
        write_results(tmp_path / str(seed), seed=seed, details={"num_seeds": 5, "seeds": seeds})
    with pytest.raises(UserError, match=r"0 and .*3 share settings and seeds 3, 4; omit one"):
        rows_of_runs(runs_of([tmp_path / "0", tmp_path / "3"]))
    assert len(rows_of_runs(runs_of([tmp_path / "0", tmp_path / "5"]))) == 1
    # Splits of fixed seeds are the same for all; the runs on them are of the seed alone.
    for seed in (0, 1):
        write_results(tmp_path / "fixed" / str(seed), seed=seed, details={"seeds": [{"seed": 0}, {"seed": 42}]})
    assert len(rows_of_runs(runs_of([tmp_path / "fixed"]))) == 1


def test_published_figures_stand_beside_ours(tmp_path: Path) -> None:
    report_from([str(write_results(tmp_path / "run")), "--out", str(tmp_path / "report")])
    lines = (tmp_path / "report" / "report.md").read_text(encoding="utf-8").splitlines()
    assert "| Random | ResNet-18 | 12.10 | 42.57 | 45.81 | 50% | – | published [a] |" in lines
    ours = "| Random [1] | ResNet-18 | 10.00 | 20.00 | 50.00 | 50% | seed 0 | **measured** |"
    assert (
        lines.index(ours) == lines.index("| Random | ResNet-18 | 12.10 | 42.57 | 45.81 | 50% | – | published [a] |") + 1
    )
    assert any(line.startswith("- [a] Heidler et al.") and line.endswith("Table II") for line in lines)
    with (tmp_path / "report" / "report.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 3 + 3 * 13
    assert {row["origin"] for row in table} == {"published", "measured"}
    assert [row["mean_percent"] for row in table if row["origin"] == "measured"] == ["10.0000", "20.0000", "50.0000"]


def test_land_cover_and_pairs_have_the_papers_columns(tmp_path: Path) -> None:
    land_cover = [{"epoch": 5, "overall_accuracy": 0.8, "mean_iou": 0.5, "iou": {"water": None}}]
    write_results(tmp_path / "a", benchmark="deepglobe", epochs=land_cover)
    scores = {f"{name}{suffix}": 0.25 for name in ("precision", "recall", "f1", "accuracy") for suffix in ("", "_sd")}
    inputs = dict.fromkeys(("image", "sound", "mean", "concatenation"), scores)
    write_results(tmp_path / "b", benchmark="advance", epochs=[{"epoch": 0, **inputs}], details={"num_seeds": 5})
    pairs, cover = build_tables(rows_of_runs(runs_of([tmp_path])))
    assert list(cover.columns.values()) == ["OA", "mIoU"]
    assert list(pairs.columns.values()) == ["Precision", "Recall", "F1"]
    ours = [row for row in pairs.rows if row.origin == "measured"]
    assert [(row.modality, row.joined) for row in ours] == [
        ("sound", ""), ("image", ""), ("both", "mean"), ("both", "concatenation"),
    ]  # fmt: skip
    assert str(ours[0].figures["f1"]) == "25.00 ± 25.00"
    assert "89.50" in markdown([pairs])
    assert "67.87" in markdown([cover])


def test_published_figures_are_typed_as_printed() -> None:
    def scores(benchmark: str, weights: str, backbone: str, modality: str = "") -> list[float]:
        (row,) = (
            row
            for row in PUBLISHED
            if (row.benchmark, row.weights, row.backbone, row.modality) == (benchmark, weights, backbone, modality)
        )
        return list(row.scores.values())

    assert scores("ucmerced", "SoundingEarth", "resnet18") == [71.33, 85.81, 90.19]
    assert scores("resisc45", "MoCo", "resnet50") == [56.39, 64.70, 76.98]
    assert scores("aid", "ImageNet", "resnet18") == [38.66, 53.12, 70.72]
    assert scores("deepglobe", "Contrastive", "resnet50") == [86.06, 68.46]
    assert scores("advance", "SoundingEarth", "resnet18", "both") == [89.59, 89.52, 89.50]
    assert all(row.source for row in PUBLISHED)
    # Table VII repeats the last column of Tables II to V.
    last = [row.scores.get("accuracy_5") for row in PUBLISHED if row.weights == "SoundingEarth"]
    assert [score for score in last if score is not None] == [90.19, 89.71, 81.71, 84.88, 81.78, 84.44]


def test_untrusted_texts_stay_texts(tmp_path: Path) -> None:
    hostile = "runs/<script>alert(1)</script>|x"
    write_results(tmp_path / "a", weights=hostile, notes=["<img src=x onerror=alert(1)>"])
    tables = build_tables(rows_of_runs(runs_of([tmp_path])))
    assert "<script>" not in page(tables)
    assert "<img" not in page(tables)
    line = next(line for line in markdown(tables).splitlines() if "script" in line)
    assert line.replace("\\|", "").count("|") == 9


def test_paths_of_weights_are_shown_as_short_as_tells_them_apart() -> None:
    names = short_names({"random", "runs/a/model", "other/a", "/data/runs/b", "weights.pth"})
    assert {given: shown for given, shown in names.items() if given != shown} == {
        "random": "Random",
        "runs/a/model": "runs/a",
        "/data/runs/b": "b",
    }


def test_mistakes_are_said(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"no results in .*empty: neither it nor a folder below it holds a results.json"
    ):
        report_from([str(tmp_path / "empty"), "--out", str(tmp_path / "report")])
    run = write_results(tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"out .*file can't be written"):
        report_from([str(run), "--out", str(tmp_path / "file")])
    with pytest.raises(SystemExit):
        report_from([str(run)])
    # The same run twice is one run.
    report_from([str(run), str(tmp_path), "--out", str(tmp_path / "report")])
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted([*NAMES, "ucmerced-scores-1.png"])
    assert "seed 0" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_a_score_that_a_kind_declares_has_its_column_heading_and_unit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = kind_of("deepglobe")
    (layout,) = kind.reporting.tables
    hours = Score("hours_to_map", "Hours", Unit("hours", form=".1f"), "lower")
    more = replace(kind.reporting, tables=(replace(layout, scores=(*layout.scores, hours)),))
    monkeypatch.setattr(type(BENCHMARKS["deepglobe"]), "kind", replace(kind, reporting=more))
    write_results(
        tmp_path,
        benchmark="deepglobe",
        epochs=[{"epoch": 5, "overall_accuracy": 0.8, "mean_iou": 0.5, "hours_to_map": 3}],
    )
    tables = build_tables(rows_of_runs(runs_of([tmp_path])))
    assert "| OA | mIoU | Hours |" in markdown(tables)
    assert "| 80.00 | 50.00 | 3.0 |" in markdown(tables)
    (row,) = (row for row in csv.DictReader(io.StringIO(comma_separated(tables))) if row["score"] == "hours_to_map")
    assert (row["mean_hours"], row["mean_percent"], row["mean_nats"]) == ("3.0000", "", "")
    assert ">3.0</b>" in page(tables)


def test_results_of_an_unknown_benchmark_are_refused_by_name(tmp_path: Path) -> None:
    write_results(tmp_path, benchmark="ucmerce")
    with pytest.raises(UserError, match=r"unknown benchmark 'ucmerce'; did you mean 'ucmerced'\?"):
        report_from([str(tmp_path), "--out", str(tmp_path / "report")])


def test_results_can_t_choose_code_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_code.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.syspath_prepend(tmp_path)
    write_results(tmp_path / "out", benchmark="strange_code:BENCHMARK")
    with pytest.raises(UserError, match=r"results\.json uses the benchmark strange_code:BENCHMARK.*EARSHOT_PLUGINS="):
        report_from([str(tmp_path / "out"), "--out", str(tmp_path / "report")])
    assert "strange_code" not in sys.modules


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"details": {"num_seeds": "2"}},
            r"results\.json: details: .*num_seeds: input should be a valid integer, got '2'",
        ),
        (
            {"epochs": [{"epoch": "1", "accuracy": 0.5}]},
            r"epochs\.0: .*epoch: input should be a valid integer, got '1'",
        ),
        ({"epochs": []}, r"epochs: list should have at least 1 item"),
    ],
)
def test_entries_of_another_type_are_named(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    write_results(tmp_path, **changes)
    with pytest.raises(UserError, match=sentence):
        Results.read(tmp_path)
