"""The plan of the paper's tables, on small stand-ins of every corpus in their real layouts: rows end in the tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torchvision
import yaml
from commands import REPOSITORY
from conftest import only_if_named
from forked_rows import run_forked
from pair_folders import write_advance

from downstream.benchmarks import BENCHMARKS
from downstream.landcover.deepglobe import DEEPGLOBE_CLASSES
from launch.comparison.checks import check_rows
from launch.comparison.plan import load_plan
from launch.comparison.rows import Row, rows_of
from pretrain.encoders.building import build_encoder

PAPER: dict[str, Any] = yaml.safe_load((REPOSITORY / "launch/plans/paper.yaml").read_text(encoding="utf-8"))
METHODS, BENCHMARKS_OF_PLAN = PAPER["methods"], PAPER["benchmarks"]
OF_EACH_KIND = ("imagenet", "tile2vec", "moco", "batch-triplet")
"""Methods that are run on all benchmarks: untrained, of a file, of images alone, of images and sounds."""
SCENES = ("ucmerced", "resisc45", "aid")
CORPORA = (*SCENES, "deepglobe", "advance")
UNTRAINED = ("random", "imagenet", "tile2vec")
SHOWN = {
    **{"random": "Random", "imagenet": "ImageNet", "tile2vec": "Tile2Vec", "simclr": "SimCLR", "moco": "MoCo"},
    **{"image-contrastive": "Contrastive (image-contrastive)", "batch-triplet": "SoundingEarth (batch-triplet)"},
}
"""Labels of the plan → names in Tables II to VI."""
BACKBONES = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "tile2vec-resnet18": "ResNet-18 (Tile2Vec)"}
OF_TABLE_VII = {
    ("naive-triplet", "resnet18"): ("78.70", "749"),
    ("naive-triplet", "resnet50"): ("75.64", "951"),
    ("contrastive", "resnet18"): ("77.18", "565"),
    ("contrastive", "resnet50"): ("81.08", "580"),
    ("batch-triplet", "resnet18"): ("81.78", "744"),
    ("batch-triplet", "resnet50"): ("84.44", "836"),
}
"""Accuracy on AID and median rank, as published."""
SMALL = {
    **{"batch_size": 16, "data.image_size": 32, "model.sound_pooling": 4, "data.workers": 0, "precision": "fp32"},
    **{"validation.crops": 1, "threads": 1, "tracker": "none"},
}
OF_DOWNSTREAM = {"allow_partial": True, "image_size": 32, "batch_size": 4, "workers": 0, "precision": "fp32"}


def write_classes(root: Path, benchmark: str) -> Path:
    """Eight images of two classes each, in the release's folders."""
    generator = np.random.default_rng(0)
    release = BENCHMARKS[benchmark]
    for number, name in enumerate(sorted(release.images_of_class)[:2]):  # type: ignore[attr-defined]
        folder = root / release.folder / name  # type: ignore[attr-defined]
        folder.mkdir(parents=True)
        for image in range(8):
            pixels = generator.normal(80 + 90 * number, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{name}{image:02d}.png"), pixels)
    return root


def write_deepglobe(root: Path) -> Path:
    """Four tiles to train on and one to map, halves of two classes."""
    (root / "train").mkdir(parents=True)
    generator, colours = np.random.default_rng(0), list(DEEPGLOBE_CLASSES.values())[:2]
    for key in (11, 12, 13, 14, 15):
        image, mask = generator.integers(0, 256, (64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)
        mask[:32], mask[32:] = colours
        image[:32] //= 4
        cv2.imwrite(str(root / "train" / f"{key}_sat.jpg"), image[..., ::-1])
        cv2.imwrite(str(root / "train" / f"{key}_mask.png"), mask[..., ::-1])
    return root


def write_weights(folder: Path) -> None:
    """Random weights in the files of ImageNet's, in torch's cache, and of Tile2Vec's."""
    cache = folder / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    for name in ("resnet18", "resnet50"):
        published = torchvision.models.get_model_weights(name).DEFAULT
        torch.save(torchvision.models.get_model(name).state_dict(), cache / Path(published.url).name)
    torch.save(build_encoder("tile2vec-resnet18", channels=4).state_dict(), folder / "naip_trained.ckpt")


def write_small_plan(
    corpora: Path,
    shards: Path,
    file: Path,
    *,
    backbones: Sequence[str],
    methods: Sequence[str] = tuple(METHODS),
    benchmarks: Sequence[str] = tuple(BENCHMARKS_OF_PLAN),
) -> Path:
    """The plan with its data, backbones, and methods and benchmarks as named, under settings that take seconds."""
    of_weights = {"tile2vec": {"model.image_init": str(corpora / "naip_trained.ckpt")}}
    plan = PAPER | {"shards": str(shards), "backbones": list(backbones), "settings": SMALL | {"epochs": 1}}
    plan["methods"] = {name: METHODS[name] | of_weights.get(name, {}) for name in methods}
    plan["benchmarks"] = {label: small_benchmark(label, corpora) for label in benchmarks}
    file.write_text(yaml.safe_dump(plan, sort_keys=False))
    return file


def small_benchmark(label: str, corpora: Path) -> dict[str, Any]:
    """The settings of a benchmark of the plan, with the stand-in of its data."""
    settings = BENCHMARKS_OF_PLAN[label]
    if label not in CORPORA:
        return settings
    return settings | OF_DOWNSTREAM | {"root": str(corpora / label)} | ({} if label == "advance" else {"epochs": 1})


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stand-ins of the five data sets, in their layouts, and of the published weights."""
    folder = tmp_path_factory.mktemp("corpora")
    for name in SCENES:
        write_classes(folder / name, name)
    write_deepglobe(folder / "deepglobe")
    write_advance(folder / "advance", locations=5)
    write_weights(folder)
    return folder


def run_plan(file: Path, corpora: Path, out: Path, *, at_once: int = 1) -> list[Row]:
    """Checks the plan as `launch/compare.py` does, runs all its rows, and writes the report."""
    plan = load_plan(file)
    rows = rows_of(plan, out)
    check_rows(plan, rows)
    run_forked(plan, rows, out, cwd=corpora, at_once=at_once, TORCH_HOME=str(corpora / "torch"))
    return rows


def check_rows_and_tables(rows: Sequence[Row], out: Path) -> None:
    """Every row has trained, has a score in every table, and the published figures stand beside them."""
    labels = [job.label for job in rows[0].benchmarks]
    corpora = set(labels) & set(CORPORA)

    def results(row: Row, label: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((row.folder / label / "results.json").read_text(encoding="utf-8"))
        return found

    for row in rows:
        steps = json.loads((row.run_folder / "summary.json").read_text(encoding="utf-8"))["step"]
        assert steps == (0 if row.method in UNTRAINED else 3), row.name
        for label in corpora & set(SCENES):
            assert results(row, label)["head_on"] == ("trunk" if row.method in UNTRAINED else "embedding"), row.name
        if "deepglobe" in labels:
            assert results(row, "deepglobe")["details"]["window"] == 0
        if "advance" in labels:
            assert results(row, "advance")["details"]["view"] == "whole image, whole sound"
        for label, protocol in {"retrieval": "khdlr", "retrieval-standard": "standard"}.items():
            if label in labels:
                metrics = json.loads((row.folder / label / "metrics.json").read_text(encoding="utf-8"))
                assert metrics["protocol"] == protocol
    lines = read_table(out / "report" / "published_tables.csv")
    measured = [line for line in lines if line["origin"] == "measured"]
    assert {line["benchmark"] for line in lines if line["origin"] == "published"} == corpora
    assert {(line["benchmark"], line["weights"], line["backbone"]) for line in measured} == {
        (corpus, SHOWN.get(row.method, row.method), BACKBONES[row.backbone]) for corpus in corpora for row in rows
    }
    runs = read_table(out / "report" / "runs.csv")
    assert [run["state"] for run in runs] == ["done"] * len(rows)
    figures = [name for name in runs[0] if name.endswith(("accuracy", "mean_iou", "f1", "mrr", "median_rank"))]
    assert {name.split("/")[0] for name in figures} == set(labels)
    assert not [(run["method"], name) for run in runs for name in figures if run[name] == ""]
    table = (out / "report" / "comparison.md").read_text(encoding="utf-8").split("Table VII", 1)[1]
    for row in rows:
        for figure in OF_TABLE_VII.get((row.method, row.backbone), ()):
            assert f" {figure} |" in table, row.name


def read_table(file: Path) -> list[dict[str, str]]:
    """The lines of a CSV file."""
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("methods", "benchmarks"),
    [
        (OF_EACH_KIND, tuple(BENCHMARKS_OF_PLAN)),
        (tuple(name for name in METHODS if name not in OF_EACH_KIND), ("aid", "retrieval")),
    ],
    ids=["a method of each kind on all benchmarks", "all other methods on two"],
)
def test_methods_of_the_paper_s_plan_end_in_its_tables(
    methods: tuple[str, ...],
    benchmarks: tuple[str, ...],
    corpora: Path,
    tiny_shards: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if methods != OF_EACH_KIND:
        only_if_named("whole-plan", "the other methods take minutes of a core")
    monkeypatch.setenv("TORCH_HOME", str(corpora / "torch"))
    file = tmp_path / "plan.yaml"
    write_small_plan(corpora, tiny_shards, file, backbones=["resnet18"], methods=methods, benchmarks=benchmarks)
    rows = run_plan(file, corpora, tmp_path / "out")
    assert [row.method for row in rows] == list(methods)
    check_rows_and_tables(rows, tmp_path / "out")


@pytest.mark.slow
def test_the_whole_plan_ends_in_its_tables(
    corpora: Path, tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_if_named("whole-plan", "its 23 rows take ten minutes of a core, and the other tests run every method")
    monkeypatch.setenv("TORCH_HOME", str(corpora / "torch"))
    file = write_small_plan(corpora, tiny_shards, tmp_path / "plan.yaml", backbones=PAPER["backbones"])
    rows = run_plan(file, corpora, tmp_path / "out", at_once=2)
    assert len(rows) == 23
    check_rows_and_tables(rows, tmp_path / "out")
