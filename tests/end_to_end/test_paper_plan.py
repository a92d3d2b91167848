"""The plan of the paper's tables, on small stand-ins of every corpus in their real layouts: rows end in the tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from commands import REPOSITORY, python, run
from pair_folders import write_advance

from downstream.benchmarks import BENCHMARKS
from downstream.landcover.deepglobe import DEEPGLOBE_CLASSES
from pretrain.encoders.building import build_encoder

METHODS = ("random", "tile2vec", "batch-triplet")
SMALL = {
    **{"batch_size": 16, "data.image_size": 32, "model.sound_pooling": 4, "data.workers": 0, "precision": "fp32"},
    **{"validation.crops": 1, "threads": 1, "tracker": "none", "model.image_encoder": None},
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


def write_small_plan(folder: Path, shards: Path) -> Path:
    """The paper's plan with fewer methods, one backbone, and settings under which a row takes seconds."""
    plan = yaml.safe_load((REPOSITORY / "launch/plans/paper.yaml").read_text(encoding="utf-8"))
    plan["shards"], plan["backbones"] = str(shards), ["resnet18"]
    plan["settings"] = {name: value for name, value in SMALL.items() if value is not None} | {"epochs": 1}
    plan["methods"] = {name: plan["methods"][name] for name in METHODS}
    plan["methods"]["tile2vec"]["model.image_init"] = str(folder / "naip_trained.ckpt")
    for label, settings in plan["benchmarks"].items():
        if label.startswith("retrieval"):
            continue
        settings |= OF_DOWNSTREAM | ({"epochs": 1} if label != "advance" else {})
    path = folder / "plan.yaml"
    path.write_text(yaml.safe_dump(plan, sort_keys=False))
    return path


@pytest.mark.slow
def test_rows_of_the_paper_s_plan_end_in_its_tables(tiny_shards: Path, tmp_path: Path) -> None:
    torch.save(build_encoder("tile2vec-resnet18", channels=4).state_dict(), tmp_path / "naip_trained.ckpt")
    roots = {name: write_classes(tmp_path / name, name) for name in ("ucmerced", "resisc45", "aid")}
    roots |= {"deepglobe": write_deepglobe(tmp_path / "deepglobe"), "advance": write_advance(tmp_path / "advance")}
    given = [word for label, root in roots.items() for word in ("--root", f"{label}={root}")]
    out = tmp_path / "out"
    done = run(python("launch/compare.py", write_small_plan(tmp_path, tiny_shards), "--out", out, *given), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr

    def results(method: str, backbone: str, label: str) -> dict[str, Any]:
        folder = out / "rows" / method / backbone / "seed-0" / label
        found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        return found

    places = {"random": "resnet18", "tile2vec": "tile2vec-resnet18", "batch-triplet": "resnet18"}
    for method, backbone in places.items():
        for label in ("ucmerced", "resisc45", "aid"):
            # The evidence turned round: 512 pooled features under the head, not 128 random ones.
            assert results(method, backbone, label)["head_on"] == (
                "embedding" if method == "batch-triplet" else "trunk"
            )
        assert results(method, backbone, "deepglobe")["details"]["window"] == 0
        assert results(method, backbone, "advance")["details"]["view"] == "whole image, whole sound"
    with (out / "report" / "published_tables.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    for origin in ("published", "measured"):
        tables = {line["benchmark"] for line in lines if line["origin"] == origin}
        assert tables == {"ucmerced", "resisc45", "aid", "deepglobe", "advance"}
    measured = {(line["benchmark"], line["weights"]) for line in lines if line["origin"] == "measured"}
    shown = ("Random", "Tile2Vec", "SoundingEarth (batch-triplet)")
    assert measured == {(benchmark, name) for benchmark in roots for name in shown}
    assert "Table VII" in (out / "report" / "comparison.md").read_text(encoding="utf-8")
