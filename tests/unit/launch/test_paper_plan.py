"""The plan of the paper's tables: what each row's heads sit on, and every row's results beside Tables II to VII."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from downstream.results import Results
from downstream.settings import DownstreamSettings
from launch.comparison.plan import load_plan
from launch.comparison.report import write_report
from launch.comparison.rows import Job, Row, rows_of
from launch.comparison.steps import steps_of
from pretrain.methods.settings import MocoConfig, SimclrConfig
from pretrain.ranking import chance_metrics
from retrieval.options import EvaluateOptions
from shards.errors import UserError

PAPER = Path(__file__).resolve().parents[3] / "launch" / "plans" / "paper.yaml"
SCENES = ("ucmerced", "resisc45", "aid")
UNTRAINED = ("random", "imagenet", "tile2vec")


def write_plan(folder: Path, **parts: Any) -> Path:
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump({"name": "n", "methods": {"a": {}}} | parts))
    return path


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return rows_of(load_plan(PAPER), tmp_path_factory.mktemp("paper"))


def settings_of(row: Row, label: str) -> Any:
    return next(job.settings for job in row.benchmarks if job.label == label)


def test_encoders_that_the_paper_did_not_train_get_their_head_on_pooled_features(rows: list[Row]) -> None:
    for row in rows:
        assert (row.config.epochs == 0) == (row.method in UNTRAINED)
        for label in SCENES:
            settings = settings_of(row, label)
            assert settings.protocol == "paper"
            assert settings.head_on == ("trunk" if row.method in UNTRAINED else "auto"), row.name
    # It is on the command line of the benchmark, not in the plan alone.
    (step,) = [step for step in steps_of(rows[0]) if step.label == "aid"]
    rows[0].run_folder.mkdir(parents=True, exist_ok=True)
    words = step.command(Path("launch.yaml"))
    assert words[words.index("--head-on") + 1] == "trunk"


def test_tile2vec_is_its_published_network(rows: list[Row]) -> None:
    found = [row for row in rows if row.method == "tile2vec"]
    assert [(row.backbone, row.config.model.image_encoder, row.config.model.image_init) for row in found] == [
        ("tile2vec-resnet18", "tile2vec-resnet18", "data/naip_trained.ckpt")
    ]
    others = {(row.method, row.backbone) for row in rows if row.method != "tile2vec"}
    assert others == {(method, backbone) for method, _ in others for backbone in ("resnet18", "resnet50")}


def test_a_method_comes_before_a_benchmark_and_that_before_the_rule(tmp_path: Path) -> None:
    def heads(method: dict[str, Any], **benchmark: Any) -> str:
        plan = write_plan(tmp_path, methods={"a": method}, benchmarks={"aid": {"root": "r", **benchmark}})
        head: str = settings_of(rows_of(load_plan(plan), tmp_path / "out")[0], "aid").head_on
        return head

    assert heads({}) == "auto"
    assert heads({"epochs": 0}) == "trunk"
    assert heads({"epochs": 0}, head_on="embedding") == "embedding"
    assert heads({"epochs": 0, "head_on": "embedding"}) == "embedding"
    assert heads({"head_on": "trunk"}, head_on="embedding") == "trunk"
    # Other protocols compare weights by their encoders in any case.
    assert heads({"head_on": "embedding"}, protocol="linear") == "auto"


def test_simclr_and_moco_are_those_of_the_paper(rows: list[Row]) -> None:
    simclr = next(row.config for row in rows if row.method == "simclr")
    assert isinstance(simclr, SimclrConfig)
    ours = simclr.simclr
    assert (ours.head, ours.head_hidden, ours.temperature) == ("projector", 512, 0.2)
    assert (ours.loss, ours.views) == ("one-way", "pairs")
    moco = next(row.config for row in rows if row.method == "moco")
    assert isinstance(moco, MocoConfig)
    assert (moco.moco.head, moco.moco.temperature) == ("linear", 0.07)
    assert moco.strong_views.blur_probability == 0
    # The plan's own settings and backbones hold for them as for all others.
    for row in rows:
        if row.method in ("simclr", "moco"):
            assert row.config.checkpoint.every_minutes == 15
            assert row.config.model.image_encoder == row.backbone


def test_a_method_may_name_its_preset(tmp_path: Path) -> None:
    methods = {"a": {}, "b": {"preset": "moco-v1", "moco.temperature": 0.3}}
    first, second = rows_of(load_plan(write_plan(tmp_path, methods=methods, settings={"epochs": 3})), tmp_path / "out")
    assert (first.config.method, second.config.method) == ("audiovisual", "moco")
    assert isinstance(second.config, MocoConfig)
    assert (second.config.moco.head, second.config.moco.temperature, second.config.epochs) == ("linear", 0.3, 3)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"preset": "moco-v2"}, r"unknown methods\.a\.preset 'moco-v2'; did you mean 'moco-v1'"),
        ({"head_on": "projection"}, r"methods\.a\.head_on must be trunk or embedding, got 'projection'"),
        ({"backbones": "resnet18"}, r"methods\.a\.backbones must be a list of different image encoders"),
        ({"backbones": []}, r"methods\.a\.backbones must be a list"),
        ({"backbones": ["resnet18", "resnet18"]}, r"methods\.a\.backbones must be a list of different"),
    ],
)
def test_faults_of_a_method_are_named(method: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_plan(write_plan(tmp_path, methods={"a": method}))


def entries_of(benchmark: str, share: float) -> list[dict[str, Any]]:
    """Scores as a run of the benchmark writes them, all equal to `share`."""
    if benchmark in SCENES:
        return [
            {"epoch": epoch, "accuracy": share, "precision": share, "recall": share, "f1": share} for epoch in (1, 2, 5)
        ]
    if benchmark == "deepglobe":
        return [{"epoch": 5, "overall_accuracy": share, "mean_iou": share}]
    scores = {name: share for score in ("precision", "recall", "f1") for name in (score, f"{score}_sd")}
    return [{"epoch": 0, **dict.fromkeys(("image", "sound", "mean", "concatenation"), scores)}]


def write_results(job: Job, row: Row, share: float) -> None:
    if isinstance(job.settings, EvaluateOptions):
        job.folder.mkdir(parents=True)
        ranks = {name: chance_metrics(200) for name in ("image_to_sound", "sound_to_image", "chance")}
        (job.folder / "metrics.json").write_text(json.dumps({"protocol": "khdlr", "gallery_size": 200, **ranks}))
        return
    assert isinstance(job.settings, DownstreamSettings)
    entries, head = entries_of(job.benchmark, share), getattr(job.settings, "head_on", "trunk")
    record: dict[str, Any] = {
        **{"benchmark": job.benchmark, "weights": str(row.run_folder), "weights_sha256": row.method},
        **{"backbone": row.backbone, "protocol": "paper", "num_train": 5, "num_test": 5, "epochs": entries},
        **{"seconds": 1.0, "head_on": head, "seed": row.seed, "split": "halves", "train_fraction": 0.5},
    }
    Results(**record).write(job.folder)


def test_every_row_ends_in_the_tables_with_the_published_figures_beside_it(tmp_path: Path) -> None:
    plan = load_plan(PAPER)
    rows = rows_of(plan, tmp_path)
    share_of = {(row.method, row.backbone): 0.5 + number / 1000 for number, row in enumerate(rows)}
    for row in rows:
        row.run_folder.mkdir(parents=True)
        (row.run_folder / "summary.json").write_text(json.dumps({"step": 1, "seconds": 1.0, "training_seconds": 1.0}))
        for job in row.benchmarks:
            write_results(job, row, share_of[row.method, row.backbone])
    write_report(plan, rows, tmp_path)
    folder = tmp_path / "report"
    with (folder / "published_tables.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    published = [line for line in lines if line["origin"] == "published"]
    for table in ("II", "III", "IV", "V", "VI"):
        assert any(line["source"].endswith(f"Table {table}") for line in published), table
    names = {"random": "Random", "imagenet": "ImageNet", "tile2vec": "Tile2Vec", "simclr": "SimCLR", "moco": "MoCo"}
    names |= {"batch-triplet": "SoundingEarth (batch-triplet)", "image-contrastive": "Contrastive (image-contrastive)"}
    shown_backbones = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "tile2vec-resnet18": "ResNet-18 (Tile2Vec)"}
    for row in rows:
        for benchmark, score in (("aid", "accuracy_5"), ("deepglobe", "mean_iou"), ("advance", "f1")):
            found = {
                round(float(line["mean_percent"]), 3)
                for line in lines
                if line["origin"] == "measured"
                and (line["benchmark"], line["score"]) == (benchmark, score)
                and line["weights"] == names.get(row.method, row.method)
                and line["backbone"] == shown_backbones[row.backbone]
            }
            assert found == {round(100 * share_of[row.method, row.backbone], 3)}, (row.name, benchmark)
    # Table II, ResNet-18 after five epochs, as printed.
    printed = {line["weights"]: line["mean_percent"] for line in published if line["benchmark"] == "ucmerced"}
    assert printed["SoundingEarth"] == "89.7100"
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    assert "Table VII" in text
    assert "these results are at the end of comparison.html and in published_tables.md: UC Merced" in text
    for name in ("published_tables.html", "comparison.html"):
        page = (folder / name).read_text(encoding="utf-8")
        for table in ("II", "III", "IV", "V", "VI"):
            assert f", Table {table}<" in page, (name, table)
        # A published figure of Table II, and a measured row under its name there.
        assert "<b>89.71</b>" in page
        assert "SoundingEarth (batch-triplet)" in page
    folded = (folder / "comparison.html").read_text(encoding="utf-8").split('id="published"')[1].split("<section")[0]
    assert folded.count("<details>") == folded.count("<summary>") == 5
    assert folded.count('class="measured') == 1 + 8 * len(rows)  # four of ADVANCE


def test_a_plan_without_published_benchmarks_has_no_such_tables(tmp_path: Path) -> None:
    path = write_plan(tmp_path, benchmarks={"mine": {"benchmark": "folder", "root": "r"}})
    plan = load_plan(path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "published_tables.md").write_text("of runs that are gone")
    write_report(plan, rows_of(plan, tmp_path), tmp_path)
    assert not list((tmp_path / "report").glob("published_tables.*"))
