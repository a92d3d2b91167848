"""Land cover end to end: the demo world, real tiles, resumption, memory on whole tiles, and mistakes of users."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import BIN, PATIENCE_SECONDS, REPOSITORY, environment, python, run
from PIL import Image

from shards.demo_world.corpus import generate_demo_corpus

QUICK = [
    *("--weights", "random", "--tracker", "none", "--threads", "1", "--precision", "fp32", "--workers", "0"),
    *("--log-every-steps", "1", "--seed", "3"),
]
MOST_BYTES = 3 * 10**9


def downstream(*words: str | Path) -> list[str]:
    return python("downstream/run.py", *words)


def results_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return record


def losses_of(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if line["split"] == "train"]


@pytest.fixture(scope="module")
def demo_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 places of the demo source, of 64 pixels."""
    root = tmp_path_factory.mktemp("demo") / "world"
    generate_demo_corpus(
        root, num_places=30, image_size=64, clip_seconds=0.5, sample_rate_hz=16_000, num_workers=0, show_progress=False
    )
    return root


@pytest.fixture(scope="module")
def demo_run(demo_world: Path) -> Path:
    """Two epochs on the demo world, at 32 pixels."""
    out = demo_world.parent / "run"
    words = ["--root", str(demo_world), "--out", str(out), "--image-size", "32", "--patch-stride", "32"]
    result = run(downstream("demo-landcover", *words, "--epochs", "2", *QUICK), cwd=demo_world.parent)
    assert result.returncode == 0, result.stderr
    return out


def test_the_demo_world_gives_results_predictions_and_pictures(demo_run: Path) -> None:
    results = results_of(demo_run)
    assert (results["benchmark"], results["protocol"], results["backbone"]) == ("demo-landcover", "paper", "resnet18")
    # 30 places from key 1000 on; those whose key ends in 2 or 5 validate.
    assert (results["num_train"], results["num_test"], results["head_on"]) == (24, 6, "trunk")
    assert results["details"]["validation_ids"] == ["1002", "1005", "1012", "1015", "1022", "1025"]
    assert results["details"]["num_train_patches"] == 24 * 4
    # The random trunk follows the seed; atrous rates fit a map of 2 × 2; tiles are mapped whole.
    assert results["details"]["weights_report"] == "random resnet18, seed 3"
    assert (results["details"]["atrous_rates"], results["details"]["window"]) == ([1, 1, 1], 0)
    assert [epoch["epoch"] for epoch in results["epochs"]] == [1, 2]
    # Tiles of the report's comparison of models: evenly spread over the ids, whatever the model.
    panels = sorted(path.name for path in (demo_run / "maps").iterdir())
    parts = ("prediction", "tile", "truth")
    assert panels == [f"{key}_{part}.png" for key in ("1002", "1012", "1015", "1025") for part in parts]
    last = results["epochs"][-1]
    known = [value for value in last["iou"].values() if value is not None]
    assert last["mean_iou"] == pytest.approx(sum(known) / len(known))
    matrix = results["details"]["confusion_matrix"]
    pixels = sum(map(sum, matrix))
    assert pixels == 6 * 64 * 64
    assert last["pooled_accuracy"] == pytest.approx(sum(matrix[i][i] for i in range(6)) / pixels)

    rows = list(csv.DictReader((demo_run / "predictions.csv").open(encoding="utf-8")))
    assert [row["tile"] for row in rows] == results["details"]["validation_ids"]
    mean = sum(float(row["accuracy"]) for row in rows) / len(rows)
    assert last["overall_accuracy"] == pytest.approx(mean, abs=1e-6)
    assert set(rows[0]) == {"tile", "known_pixels", "accuracy", *(f"iou_{name}" for name in last["iou"])}

    for key in results["details"]["validation_ids"]:
        with Image.open(demo_run / "tiles" / f"{key}.png") as picture:
            assert picture.size[0] > 900
    assert (demo_run / "confusion_matrix.png").is_file()
    assert json.loads((demo_run / "model" / "config.json").read_text())["classes"]["water"] == [0, 0, 255]


def test_losses_fall_on_the_demo_world(demo_run: Path) -> None:
    losses = [loss for _, loss in losses_of(demo_run)]
    assert len(losses) == 2 * (24 * 4 // 16)
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


@pytest.mark.slow
def test_a_resumed_run_takes_the_steps_that_it_would_have_taken(demo_world: Path, demo_run: Path) -> None:
    out = demo_world.parent / "resumed"
    words = ["--root", str(demo_world), "--out", str(out), "--image-size", "32", "--patch-stride", "32"]
    first = run(downstream("demo-landcover", *words, "--epochs", "1", *QUICK), cwd=demo_world.parent)
    assert first.returncode == 0, first.stderr
    again = run(downstream("--resume", str(out), "--epochs", "2"), cwd=demo_world.parent)
    assert again.returncode == 0, again.stderr
    assert losses_of(out) == losses_of(demo_run)
    assert results_of(out)["epochs"] == results_of(demo_run)["epochs"]
    assert (out / "predictions.csv").read_bytes() == (demo_run / "predictions.csv").read_bytes()
    # Interrupted after training: its last model is scored again, without a step.
    (out / "results.json").unlink()
    scored = run(downstream("--resume", str(out)), cwd=demo_world.parent)
    assert scored.returncode == 0, scored.stderr
    assert "training:" not in scored.stderr
    assert results_of(out)["epochs"] == results_of(demo_run)["epochs"]
    assert results_of(out)["details"]["confusion_matrix"] == results_of(demo_run)["details"]["confusion_matrix"]
    nothing_left = run(downstream("--resume", str(out)), cwd=demo_world.parent)
    assert nothing_left.returncode == 2
    assert "epochs must be > 2, the epochs that the run in" in nothing_left.stderr


@pytest.mark.slow
def test_two_processes_share_patches_and_tiles(demo_world: Path, demo_run: Path) -> None:
    out = demo_world.parent / "two"
    words = ["--root", demo_world, "--out", out, "--image-size", "32", "--patch-stride", "32", "--epochs", "1"]
    command = [
        *(str(BIN / "torchrun"), "--standalone", "--nproc_per_node", "2", str(REPOSITORY / "downstream/run.py")),
        *("demo-landcover", *map(str, words), *QUICK),
    ]
    result = run(command, cwd=demo_world.parent, ACCELERATE_USE_CPU="true")
    assert result.returncode == 0, result.stderr
    assert json.loads((out / "summary.json").read_text())["num_processes"] == 2
    one, two = results_of(demo_run), results_of(out)
    for name in ("validation_ids", "num_train_patches", "class_shares_train"):
        assert two["details"][name] == one["details"][name]
    assert sum(map(sum, two["details"]["confusion_matrix"])) == 6 * 64 * 64
    # Each process normalises its own half of the batch, so even the first losses are alike but not the same.
    assert losses_of(out)[0][1] == pytest.approx(losses_of(demo_run)[0][1], rel=0.2)


@pytest.mark.slow
def test_real_tiles_of_deepglobe(real_data: Path, tmp_path: Path) -> None:
    words = ["--root", real_data / "deepglobe", "--out", tmp_path / "out", "--allow-partial", "--epochs", "1"]
    result = run(
        downstream("deepglobe", *words, "--batch-size", "4", "--patch-stride", "968", *QUICK),
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    results = results_of(tmp_path / "out")
    assert results["notes"] == ["4 of the 803 tiles of DeepGlobe land cover that have a mask"]
    assert (results["num_train"], results["num_test"]) == (3, 1)
    assert results["details"]["validation_ids"] == ["482365"]
    assert results["details"]["num_train_patches"] == 3 * 9
    # Of the mask's 2448 × 2448 pixels all are known; its classes are counted by hand from its colours.
    sums = [sum(row) for row in results["details"]["confusion_matrix"]]
    assert sums == [1_301_054, 263_117, 3_451_094, 0, 83_972, 893_467]
    with Image.open(tmp_path / "out" / "tiles" / "482365.png") as picture:
        assert picture.size[0] > 2400


MEASURE = """
import resource, sys
from pathlib import Path

import torch

from downstream.landcover.deepglobe import DEEPGLOBE
from downstream.landcover.deeplab import DeepLab
from downstream.landcover.maps import map_tiles
from pretrain.weights.encoder_weights import load_encoder

torch.set_num_threads(1)
module = DeepLab(load_encoder("random", backbone="resnet50"), 6).eval()
tiles = DEEPGLOBE.load(Path(sys.argv[1]), allow_partial=True).tiles[:2]
mapped = map_tiles(
    module, tiles, DEEPGLOBE.classes, window=1024, device=torch.device("cpu"), precision="fp32", threads=2
)
assert all(found.confusion.sum() == 2448 * 2448 for found in mapped)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_whole_tiles_are_mapped_within_3_gb_in_all(real_data: Path) -> None:
    """The larger backbone in float32, at the window and overlap of 512-px patches, tiles read ahead."""
    result = subprocess.run(
        [sys.executable, "-c", MEASURE, str(real_data / "deepglobe")],
        cwd=REPOSITORY,
        env=environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) <= MOST_BYTES


def test_a_mask_that_is_missing_is_one_sentence(demo_world: Path, tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / "world" / name).mkdir(parents=True)
    for number in (1002, 1003, 1004):
        for name in (f"images/{number}.jpg", f"masks/{number}_mask.png"):
            (tmp_path / "world" / name).write_bytes((demo_world / name).read_bytes())
    (tmp_path / "world" / "masks" / "1003_mask.png").unlink()
    words = ["--root", tmp_path / "world", "--out", tmp_path / "out"]
    result = run(downstream("demo-landcover", *words, *QUICK), cwd=tmp_path)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    sentence = result.stderr.splitlines()[-1]
    assert "no mask for 1 of 3 images" in sentence
    assert "1003.jpg" in sentence
    assert "--allow-partial" in sentence
