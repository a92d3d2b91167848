"""The report's tables of TAU's scenes: each strategy in the paper's tables, our filter bank marked, nats kept apart."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from downstream.reporting.formats import comma_separated, markdown, page
from downstream.reporting.published_tau import PUBLISHED_TAU
from downstream.reporting.report import report_from
from downstream.reporting.rows import rows_of_runs
from downstream.reporting.runs import runs_of
from downstream.reporting.tables import Table, build_tables
from downstream.results import Results
from downstream.tau.running import OWN_BANK
from shards.errors import UserError


def write(folder: Path, strategy: str, seed: int, log_loss: float, *, features: str = "scalogram") -> None:
    Results(
        benchmark="tau-scenes",
        weights="imagenet",
        backbone="" if strategy == "audio" else "efficientnet-v2-s",
        protocol="paper",
        num_train=8646,
        num_test=3645,
        epochs=[{"epoch": 150, "log_loss": log_loss, "accuracy": 0.9}],
        seconds=1.0,
        head_on="trunk",
        seed=seed,
        split="official folds",
        train_fraction=8646 / 12291,
        notes=[OWN_BANK] if features == "scalogram" else [],
        details={"strategy": strategy, "features": "" if strategy == "video" else features},
    ).write(folder)


@pytest.fixture
def tables(tmp_path: Path) -> list[Table]:
    write(tmp_path / "a", "joint", 0, 0.15)
    write(tmp_path / "b", "joint", 1, 0.17)
    write(tmp_path / "c", "joint", 0, 0.2, features="fbank")
    write(tmp_path / "d", "audio", 0, 0.6)
    write(tmp_path / "e", "joint-pretrained", 0, 0.16)
    return build_tables(rows_of_runs(runs_of([tmp_path])))


def test_each_strategy_stands_in_the_papers_tables(tables: list[Table]) -> None:
    assert [table.layout.name for table in tables] == ["tau-single", "tau-both", "tau-ablation", "tau-systems"]
    published = [sum(row.origin == "published" for row in table.rows) for table in tables]
    assert published == [4, 8, 4, 5]
    assert sum(published) == len(PUBLISHED_TAU)
    single, both, ablation, systems = tables
    (audio,) = [row for row in single.rows if row.origin == "measured"]
    assert (audio.modality, audio.joined, audio.approach) == ("sound", "scalogram", "")
    joint = [row for row in both.rows if row.origin == "measured"]
    assert [(row.approach, row.joined) for row in joint] == [("Joint", "FBank"), ("Joint", "scalogram")]
    assert str(joint[1].figures["log_loss"]) == "0.1600 ± 0.0141"
    assert str(joint[1].figures["accuracy"]) == "90.00 ± 0.00"
    approaches = [(row.approach.split(":")[0], row.origin) for row in ablation.rows]
    assert approaches == [
        ("I", "published"),
        ("II", "published"),
        ("III", "published"),
        ("III", "measured"),
        ("IV", "measured"),  # FBank
        ("IV", "published"),
        ("IV", "measured"),
    ]
    assert [(row.approach, row.weights, row.joined) for row in systems.rows if row.approach == "Joint"] == [
        ("Joint", "ImageNet + Places365", "scalogram"),
        ("Joint", "ImageNet", "FBank"),
        ("Joint", "ImageNet", "scalogram"),
    ]
    # As printed: three places and one.
    assert "| image + sound | Pipeline | 0.658 | 77.0 | not published |" in markdown([systems])


def test_published_figures_are_the_papers() -> None:
    found = {
        (row.source[-7:], row.modality, row.joined, row.backbone, row.approach): tuple(row.scores.values())
        for row in PUBLISHED_TAU
    }
    assert found["Table 2", "sound", "scalogram", "", ""] == (0.6325, 77.98)
    assert found["Table 2", "image", "", "efficientnet-v2-s", ""] == (0.2731, 90.91)
    assert found["Table 3", "both", "scalogram", "resnet50", "Joint"] == (0.2495, 91.55)
    best = found["Table 3", "both", "scalogram", "efficientnet-v2-s", "Joint"]
    assert best == found["Table 4", "both", "scalogram", "efficientnet-v2-s", "IV: raw image, trainable"]
    assert best == (0.1517, 94.59)


def test_rows_measured_with_our_filter_bank_are_marked(tables: list[Table]) -> None:
    both = tables[1]
    number = both.notes.index(OWN_BANK) + 1
    lines = [line for line in markdown([both]).splitlines() if "**measured**" in line]
    assert [f"[{number}]" in line for line in lines] == ["scalogram" in line for line in lines] == [False, True]
    assert f"- [{number}] {OWN_BANK}" in markdown([both])


def test_losses_are_in_nats_everywhere(tables: list[Table]) -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(tables))))
    losses = [row for row in rows if row["score"] == "log_loss"]
    assert losses
    assert all(row["mean_nats"] and not row["mean_percent"] for row in losses)
    assert all(row["mean_percent"] and not row["mean_nats"] for row in rows if row["score"] == "accuracy")
    assert "| 0.1517 | 94.59 |" in markdown(tables)
    html = page(tables)
    assert "<b>0.1600</b>" in html
    assert "width: 0.2%" not in html
    assert "width: 94.6%" in html


def test_an_encoder_trained_on_the_way_is_no_second_seed(tmp_path: Path) -> None:
    for folder, strategy, seed in (("audio", "audio", 0), ("audio-1", "audio", 1), ("pipeline", "pipeline", 0)):
        write(tmp_path / folder, strategy, seed, 0.5)
    nested = tmp_path / "pipeline" / "acoustic"
    write(nested, "audio", 0, 0.9)
    assert [run.folder.name for run in runs_of([tmp_path])] == ["audio", "audio-1", "pipeline"]
    # Whoever names it wants it; but one seed is one seed.
    assert [run.folder.name for run in runs_of([nested, tmp_path / "pipeline"])] == ["acoustic", "pipeline"]
    with pytest.raises(UserError, match=r"audio and .*pipeline/acoustic share settings and seed 0; omit one"):
        rows_of_runs(runs_of([tmp_path, nested]))


def test_the_report_over_a_parent_folder_counts_no_encoder_twice(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "audio", "audio", 0, 0.5)
    write(tmp_path / "runs" / "pipeline", "pipeline", 0, 0.2)
    write(tmp_path / "runs" / "pipeline" / "acoustic", "audio", 0, 0.9)
    report_from([str(tmp_path / "runs"), "--out", str(tmp_path / "report")])
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if "| sound (scalogram) |" in line and "**measured**" in line]
    assert "| 0.5000 | 90.00 |" in line
    assert "| seed 0 |" in line
