"""The tables of a comparison: means over seeds, best and chance, and what rows' files say of them."""

from __future__ import annotations

import io
import statistics
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparison_rows import (
    BACK,
    THERE,
    cell,
    comparison_of,
    done_row,
    make_row,
    retrieval_table,
    write_downstream,
    write_retrieval,
    write_summary,
)

from downstream.reporting.published import PUBLISHED
from launch.comparison.outcomes import read_outcome
from launch.comparison.published import SCORES, TABLE_VII
from launch.comparison.report import comma_separated, markdown
from launch.comparison.table import Statistic, Table
from shards.errors import UserError


def read_csv(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_means_and_deviations_over_seeds_come_back_from_the_csv(tmp_path: Path) -> None:
    ranks = {"a": [3.0, 4.5, 9.0], "b": [20.0, 21.0]}
    rows = [done_row(tmp_path, name, seed, rank) for name, of in ranks.items() for seed, rank in enumerate(of)]
    rows.append(make_row(tmp_path, "b", 2))
    table = read_csv(comma_separated(comparison_of(rows)))
    assert list(table.method) == ["a", "b"]
    assert list(table.num_planned) == [3, 3]
    for i, values in enumerate(ranks.values()):
        for path, shift in ((THERE, 0), (BACK, 1)):
            shifted = [value + shift for value in values]
            assert table[f"{path}/median_rank_mean"][i] == pytest.approx(statistics.mean(shifted), rel=1e-12)
            assert table[f"{path}/median_rank_sd"][i] == pytest.approx(statistics.stdev(shifted), rel=1e-12)
            assert table[f"{path}/median_rank_n"][i] == len(values)
    assert set(table[f"{THERE}/median_rank_chance"]) == {25.5}
    assert set(table["pairs_seen_mean"]) == {640}


def test_one_seed_has_no_deviation_and_fewer_seeds_than_planned_are_marked(tmp_path: Path) -> None:
    comparison = comparison_of([done_row(tmp_path, "a", 0, 3), make_row(tmp_path, "a", 1)])
    table, line, column = cell(comparison, "a", f"{THERE}/median_rank")
    assert line.figures[column.key] == Statistic(3.0, None, 1, {0: 3.0})
    assert table.is_partial(line, column)
    text = markdown(comparison)
    assert "| 3.0 (n = 1) |" in text
    assert "fewer than planned" in text
    assert np.isnan(read_csv(comma_separated(comparison))[f"{THERE}/median_rank_sd"][0])


def test_methods_stand_in_the_plans_order_within_each_backbone(tmp_path: Path) -> None:
    places = [("b", "resnet50"), ("b", "resnet18"), ("a", "resnet50"), ("a", "resnet18")]
    rows = [make_row(tmp_path, method, backbone=backbone) for method, backbone in places]
    lines = [(line.backbone, line.method) for line in comparison_of(rows).lines]
    assert lines == [("resnet50", "b"), ("resnet50", "a"), ("resnet18", "b"), ("resnet18", "a")]


def test_best_are_all_means_that_cannot_be_told_from_the_best_on_their_backbone(tmp_path: Path) -> None:
    """Rank differences to b, seed by seed: of a 1, 1, 1 (deviation 0), of c −1, 4, 0 (mean 1, deviation 2.6)."""
    ranks = {"a": [5, 9, 13], "b": [4, 8, 12], "c": [3, 12, 12]}
    rows = [
        done_row(tmp_path, method, seed, rank, recall={"a": 0.5, "b": 0.5, "c": 0.4}[method])
        for method, of_seeds in ranks.items()
        for seed, rank in enumerate(of_seeds)
    ]
    rows += [done_row(tmp_path, "a", seed, 1, recall=0.9, backbone="resnet50") for seed in range(3)]
    comparison = comparison_of(rows)
    best = {
        name: [method for method in "abc" if Table.is_among_best(*cell(comparison, method, f"{THERE}/{name}"))]
        for name in ("median_rank", "recall_at_10")
    }
    assert best == {"median_rank": ["b", "c"], "recall_at_10": ["a", "b"]}
    assert not Table.is_among_best(*cell(comparison, "a", f"{THERE}/median_rank", "resnet50"))
    assert not any(Table.is_among_best(*cell(comparison, method, "steps")) for method in "abc")
    assert "**8.0** ± 4.0" in markdown(comparison)
    table = read_csv(comma_separated(comparison))
    assert list(table[f"{THERE}/median_rank_from_best_mean"])[:3] == [1.0, 0.0, 1.0]
    assert list(table[f"{THERE}/median_rank_from_best_sd"])[:3] == pytest.approx(
        [0.0, 0.0, statistics.stdev([-1, 4, 0])]
    )


def test_with_one_seed_or_no_shared_seed_nothing_is_best(tmp_path: Path) -> None:
    one = comparison_of([done_row(tmp_path / "one", method, 0, rank) for method, rank in (("a", 5), ("b", 4))])
    assert not any(Table.is_among_best(*cell(one, method, f"{THERE}/median_rank")) for method in "ab")
    assert "With one seed" in markdown(one)
    rows = [done_row(tmp_path / "two", "a", seed, 5 + seed) for seed in (0, 1)]
    rows += [done_row(tmp_path / "two", "b", seed, 1) for seed in (2, 3)]
    table, line, column = cell(comparison_of(rows), "a", f"{THERE}/median_rank")
    assert table.from_best(line, column) is None
    assert not table.is_among_best(line, column)


def test_recall_at_10_stands_in_for_a_recall_at_100_that_does_not_exist(tmp_path: Path) -> None:
    small = comparison_of([done_row(tmp_path / "small", "a", 0, 5, n=50)])
    large = comparison_of([done_row(tmp_path / "large", "a", 0, 5, n=100)])
    names = {
        size: [column.key.removeprefix(f"{THERE}/") for column in retrieval_table(comparison).columns[:3]]
        for size, comparison in (("small", small), ("large", large))
    }
    assert names["small"] == ["recall_at_10", "recall_at_10_percent", "median_rank"]
    assert names["large"] == ["recall_at_100", "recall_at_10_percent", "median_rank"]
    assert any("fewer than 100 pairs (50)" in note for note in small.notes)
    assert not any("fewer than 100" in note for note in large.notes)
    assert "25.00" in markdown(small)


def test_chance_is_the_gallerys_and_is_left_out_where_galleries_differ(tmp_path: Path) -> None:
    same = comparison_of([done_row(tmp_path / "same", "a", seed, 5, n=50) for seed in (0, 1)])
    chance = retrieval_table(same).chance
    assert {chance[f"{path}/median_rank"] for path in (THERE, BACK)} == {25.5}
    assert chance[f"{THERE}/recall_at_10"] == 0.2
    assert "| *chance* |  | 20.00 | 10.00 | 25.5 | 20.00 | 10.00 | 25.5 |" in markdown(same)
    other = comparison_of([done_row(tmp_path / "other", "a", seed, 5, n=50 + seed) for seed in (0, 1)])
    assert retrieval_table(other).chance == {}
    assert "50 or 51 pairs are ranked" in retrieval_table(other).caption
    assert "are not comparable" in retrieval_table(other).caption


def test_downstream_scores_are_those_of_the_last_epoch(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a", benchmarks=("aid", "deepglobe", "advance"))
    scenes, landcover, audiovisual = row.benchmarks
    write_downstream(scenes, [{"epoch": 1, "accuracy": 0.9}, {"epoch": 2, "accuracy": 0.8}])
    write_downstream(landcover, [{"epoch": 1, "overall_accuracy": 0.7, "mean_iou": 0.5, "iou": {}, "loss": 1.0}])
    f1 = {"sound": 0.1, "image": 0.2, "mean": 0.3, "concatenation": 0.4}
    write_downstream(audiovisual, [{"epoch": 0, **{name: {"f1": value, "f1_sd": 0.01} for name, value in f1.items()}}])
    assert read_outcome(row).scores == {
        **{"aid/accuracy": 0.8, "deepglobe/overall_accuracy": 0.7, "deepglobe/mean_iou": 0.5},
        **{f"advance/{name}/f1": value for name, value in f1.items()},
    }
    table = next(table for table in comparison_of([row]).tables if table.title == "Downstream benchmarks")
    assert [column.heading for column in table.columns] == ["aid", "deepglobe", "deepglobe", *["advance"] * 4]


def test_log_losses_are_nats_of_which_fewer_are_better(tmp_path: Path) -> None:
    rows = []
    for name, loss in (("a", 0.51239), ("b", 1.2)):
        for seed in (0, 1):
            row = make_row(tmp_path, name, seed, benchmarks=("demo-tau",))
            write_downstream(row.benchmarks[0], [{"epoch": 3, "log_loss": loss, "accuracy": 0.7}])
            rows.append(row)
    comparison = comparison_of(rows)
    table, line, column = cell(comparison, "a", "demo-tau/log_loss")
    assert (column.show(line.figures[column.key].mean), column.detail) == ("0.5124", "Log loss (nats)")
    assert table.is_among_best(line, column)
    assert not table.is_among_best(next(other for other in table.lines if other.method == "b"), column)


def test_states_follow_from_the_files(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    assert read_outcome(row).state == "missing"
    row.run_folder.mkdir()
    (row.run_folder / "metrics.jsonl").write_text("{}\n")
    assert read_outcome(row).state == "training"
    write_summary(row)
    assert read_outcome(row).state == "trained"
    (row.folder / "failed.txt").write_text("retrieval found no shards\naid: no images\n")
    assert (read_outcome(row).state, read_outcome(row).reason) == (
        "failed",
        "retrieval found no shards; aid: no images",
    )
    write_retrieval(row, rank=5)
    assert (read_outcome(row).state, read_outcome(row).reason) == ("done", "")


def test_what_a_run_took_and_the_limit_it_had(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, "a", seed, 5, max_seconds=7.0) for seed in (0, 1)]
    untrained = make_row(tmp_path, "random", epochs=0)
    write_summary(untrained, step=0, seconds=0.5, training_seconds=0.0, peak_memory_bytes=None)
    comparison = comparison_of([*rows, untrained])
    text = markdown(comparison)
    assert "| a | ResNet-18 | 7.5 ± 0.0 | 9.0 ± 0.0 | 10 ± 0 | 640 ± 0 | 2.00 ± 0.00 |" in text
    assert "| random | ResNet-18 | 0.0 | 0.5 | 0 | 0 | – |" in text
    assert "Every run trained for 7 s" in text
    short = make_row(tmp_path, "short", max_seconds=7.0)
    write_summary(short, training_seconds=6.9)
    text = markdown(comparison_of([*rows, untrained, short]))
    assert "the same" not in text
    assert (
        "Training time was limited to 7 s, not counting validation and checkpoints. Runs trained for 6.9 to 7.5" in text
    )
    assert "the same" not in markdown(comparison_of([untrained, make_row(tmp_path, "b", max_seconds=7.0)]))
    other = make_row(tmp_path, "c", max_seconds=100.0)
    assert "Limits of training time differ between the rows. Runs" in markdown(comparison_of([*rows, other]))


def test_a_summary_without_training_time_and_memory_leaves_their_columns_out(tmp_path: Path) -> None:
    row = make_row(tmp_path, "a")
    row.run_folder.mkdir()
    (row.run_folder / "summary.json").write_text('{"step": 3, "seconds": 9.0}')
    assert [column.key for column in comparison_of([row]).columns] == ["wall_seconds", "steps", "pairs_seen"]


def test_methods_of_images_alone_are_marked_in_retrieval_only(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, "simclr", 0, 25, trained_by="simclr"), done_row(tmp_path, "a", 0, 5)]
    comparison = comparison_of(rows)
    text = markdown(comparison)
    assert text.count("| simclr † |") == 1
    assert "| a † |" not in text
    assert any(note.startswith("†") for note in comparison.notes)
    assert not any(note.startswith("†") for note in comparison_of(rows[1:]).notes)


def test_published_figures_stand_beneath_for_the_plans_methods_and_benchmarks_alone(tmp_path: Path) -> None:
    rows = [make_row(tmp_path, name, benchmarks=("retrieval", "aid")) for name in ("contrastive", "moco")]
    (table,) = comparison_of(rows).tables
    assert table.is_published
    assert [line.method for line in table.lines] == ["contrastive"]
    assert [column.title for column in table.columns] == [
        "aid, Accuracy",
        "Recall@100, image → sound",
        "Median rank, image → sound",
    ]
    assert "| contrastive | ResNet-18 | 77.18 | 29.12 | 565 |" in markdown(comparison_of(rows))
    assert "not comparable" in table.caption


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_the_papers_own_method_has_the_figures_of_its_other_tables(backbone: str) -> None:
    ours = dict(zip(((name, score.key) for name, score in SCORES), TABLE_VII["batch-triplet"][backbone], strict=True))
    for published in PUBLISHED:
        if (published.weights, published.backbone) == ("SoundingEarth", backbone) and published.benchmark != "advance":
            for name, value in published.scores.items():
                score = "accuracy" if name == "accuracy_5" else name
                if (published.benchmark, score) in ours:
                    assert ours.pop((published.benchmark, score)) == value
    assert {benchmark for benchmark, _ in ours} == {"advance", "retrieval"}


@pytest.mark.parametrize("content", ["{", "[1]"])
def test_a_file_that_can_not_be_understood_is_named(tmp_path: Path, content: str) -> None:
    row = make_row(tmp_path, "a")
    row.benchmarks[0].folder.mkdir()
    (row.benchmarks[0].folder / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=r"metrics\.json.*delete it and run the plan again"):
        read_outcome(row)
