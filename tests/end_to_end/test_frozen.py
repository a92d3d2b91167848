"""Frozen encoders: features stored once, heads trained on them, and a run like any other."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import PATIENCE_SECONDS, SMALL_INPUTS, environment, last_step, python, run, run_together
from safetensors.torch import load_file
from tiny_shards import write_tiny_shards

from pretrain.features.frozen_features import FrozenFeatures, embed_features
from pretrain.losses.settings import SymmetricContrastiveSettings
from pretrain.methods.audiovisual import Audiovisual
from pretrain.methods.settings import AudiovisualConfig
from pretrain.model import TwoTower
from pretrain.settings.pretraining import DataSettings, ModelSettings
from pretrain.training.embedding import embed_split, spread_crops
from pretrain.training.run_folder import list_checkpoints
from shards.streaming.reading import ShardSet

FROZEN = [
    *("--model.freeze", "image,sound", "--data.feature-views", "3", "--mixing", "1", "--epochs", "3"),
    *SMALL_INPUTS,
]
NUM_TRAIN = 200


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen") / "shards"
    return write_tiny_shards(folder, {"train": NUM_TRAIN, "val": 70, "test": 24})


@pytest.fixture(scope="module")
def finished(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with frozen encoders, from random weights."""
    folder = tmp_path_factory.mktemp("run") / "run"
    result = run(python("pretrain/run.py", *words(shards, folder)), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


def words(shards: Path, out: Path) -> list[str | Path]:
    return ["symmetric-contrastive", "--shards", shards, "--out", out, *FROZEN]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def test_only_projections_are_trained_and_the_run_is_like_any_other(shards: Path, finished: Path) -> None:
    start = finished.parent / "start"
    result = run(python("pretrain/run.py", *words(shards, start), "--epochs", "0"), cwd=start.parent)
    assert result.returncode == 0, result.stderr
    before, after = weights(start), weights(finished)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {f"{tower}_tower.projection.{kind}" for tower in ("image", "sound") for kind in ("weight", "bias")}
    stored = np.load(finished / "features" / "train-image.npy", mmap_mode="r")
    assert stored.shape == (NUM_TRAIN, 3, 512)
    assert len(np.unique(stored[:, 0], axis=0)) == NUM_TRAIN
    evaluate = ["evaluate", "--weights", finished, "--shards", shards, "--split", "val", "--crops", "1"]
    evaluate += ["--out", finished / "retrieval"]
    result = run(python("retrieval/run.py", *evaluate), cwd=finished.parent)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((finished / "retrieval" / "metrics.json").read_text())
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    ranks = [line["image_to_sound"]["mean_rank"] for line in lines if line["split"] == "val"]
    assert metrics["image_to_sound"]["mean_rank"] in ranks


def test_stored_features_embed_as_the_pairs_do(shards: Path, finished: Path, tmp_path: Path) -> None:
    config = AudiovisualConfig(
        shards=shards,
        out=tmp_path,
        precision="fp32",
        loss=SymmetricContrastiveSettings(),
        data=DataSettings(image_size=32, workers=0, feature_views=2),
        model=ModelSettings(freeze="image,sound", sound_pooling=4, image_init=str(finished), sound_init=str(finished)),
    )
    shard_set = ShardSet.open(shards)
    method = Audiovisual.from_config(config, shard_set.manifest).eval()
    features = FrozenFeatures(method.towers, shard_set, config, method.views)
    found = embed_features(method.towers, features.evaluation("val", 3), "fp32")
    expected = embed_split(method.towers, shard_set, "val", crop_starts=spread_crops(128, 3))
    np.testing.assert_allclose(found.image, expected.image, atol=1e-5)
    np.testing.assert_allclose(found.sound, expected.sound, atol=1e-5)
    # Training sees the stored features of the very views that it would have computed.
    store = features.training()
    views = np.stack([store.read("image")[row, 1] for row in range(4)])
    pixels = torch.empty((4, 3, 32, 32), dtype=torch.uint8)
    from pretrain.data.seeds import sample_seed

    for row in range(4):
        sample = shard_set.sample("train", row)
        sound = np.empty((1, 128, 128), np.uint8)
        method.views.write(sample, sample_seed(0, 1, sample.key), {"image": pixels[row].numpy(), "sound": sound})
    with torch.no_grad():
        np.testing.assert_allclose(views, method.towers.image_features(pixels).numpy(), atol=1e-4)


def test_a_killed_pass_over_the_encoders_resumes(shards: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = python("pretrain/run.py", *words(shards, out))
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
    record = out / "features" / "train-done-0.txt"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (record.is_file() and record.read_text().split()) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = record.read_text().split()
    assert done, "it ended before it was killed"
    first_rows = np.load(out / "features" / "train-image.npy")[:64].copy()
    result = run(python("pretrain/run.py", "--resume", out), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(record.read_text().split()) == [f"{block:010d}" for block in range(4)]
    stored = np.load(out / "features" / "train-image.npy")
    assert np.array_equal(stored[:64], first_rows)
    assert np.array_equal(stored, np.load(finished / "features" / "train-image.npy"))
    found, expected = weights(out), weights(finished)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_run_that_mixes_and_is_killed_in_an_epoch_ends_with_the_same_bits(
    shards: Path, finished: Path, tmp_path: Path
) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    more = ["--checkpoint.every-steps", "5", "--data.features-dir", finished / "features"]
    result = run(python("pretrain/run.py", *words(shards, whole), *more), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shutil.copytree(whole, resumed)
    shutil.rmtree(list_checkpoints(resumed)[-1])
    (resumed / "summary.json").unlink()  # of a run that has ended
    assert 0 < last_step(resumed) < last_step(whole)
    result = run(python("pretrain/run.py", "--resume", resumed), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    found, expected = (
        (list_checkpoints(folder)[-1] / "weights.safetensors").read_bytes() for folder in (resumed, whole)
    )
    assert found == expected


def test_two_processes_share_the_pass_and_train_as_one(shards: Path, finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # Without FuseMix, whose partners come from a process's own part of the batch, and without Adam, whose first steps
    # are as long for a gradient of rounding errors as for any other.
    more = ["--mixing", "0", "--data.features-dir", tmp_path / "features", "--optimizer.name", "sgd"]
    result = run_together(python("pretrain/run.py", *words(shards, out), *more), cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list((tmp_path / "features").glob("train-done-*.txt"))) == 2
    stored = np.load(tmp_path / "features" / "train-image.npy")
    np.testing.assert_allclose(stored, np.load(finished / "features" / "train-image.npy"), atol=1e-5)
    alone = tmp_path / "alone"
    result = run(python("pretrain/run.py", *words(shards, alone), *more), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "features of train" not in result.stderr + result.stdout
    for name, value in weights(alone).items():
        torch.testing.assert_close(weights(out)[name], value, rtol=1e-4, atol=1e-6)
    moved = weights(alone)["image_tower.projection.weight"] - weights(finished)["image_tower.projection.weight"]
    assert float(moved.abs().max()) > 1e-3


def test_a_features_folder_that_cannot_be_written_is_one_sentence(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    more = ["--data.features-dir", tmp_path / "file" / "features"]
    result = run(python("pretrain/run.py", *words(shards, tmp_path / "run"), *more), cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1].startswith(f"error: features can't be written to {tmp_path}")


def test_entries_that_a_loss_needs_are_stored_too(shards: Path, finished: Path, tmp_path: Path) -> None:
    more = ["--data.features-dir", tmp_path / "features", "--loss.queue-size", "16", "--loss.negatives-from-km", "1"]
    mixed = run(python("pretrain/run.py", *words(shards, tmp_path / "0"), *more), cwd=tmp_path)
    assert "mixing must be 0 with this loss, which needs the identity and place of each pair" in mixed.stderr
    more += ["--mixing", "0"]
    for number in ("1", "2"):
        out = tmp_path / number
        result = run(python("pretrain/run.py", *words(shards, out), "--seed", "3", *more), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert "features of train" not in result.stderr + result.stdout
    places = np.load(tmp_path / "features" / "train-place.npy")
    assert places.shape == (NUM_TRAIN, 3)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1, atol=1e-5)
    # Features without these entries are computed again, not filled up with zeros.
    more = ["--data.features-dir", tmp_path / "features"]
    result = run(python("pretrain/run.py", *words(shards, tmp_path / "3"), "--seed", "3", *more), cwd=tmp_path)
    assert "features of train" in result.stderr + result.stdout


def test_a_folder_in_use_is_shared_by_equal_runs_and_refused_to_others(
    shards: Path, finished: Path, tmp_path: Path
) -> None:
    more = ["--data.features-dir", finished / "features"]
    lock = os.open(finished / "features", os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)  # as a run that trains meanwhile
        result = run(python("pretrain/run.py", *words(shards, tmp_path / "same"), *more), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "features of train" not in result.stderr + result.stdout
        result = run(python("pretrain/run.py", *words(shards, tmp_path / "other"), *more, "--seed", "7"), cwd=tmp_path)
    finally:
        os.close(lock)
    assert result.returncode == 2
    assert f"data.features_dir {finished / 'features'} is in use by another run" in result.stderr
    assert np.load(finished / "features" / "train-image.npy").shape == (NUM_TRAIN, 3, 512)


def test_features_of_other_weights_are_not_used(shards: Path, finished: Path, tmp_path: Path) -> None:
    more = ["--data.features-dir", finished / "features", "--seed", "5"]
    result = run(python("pretrain/run.py", *words(shards, tmp_path / "run"), *more), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "features of train" in result.stderr + result.stdout


def test_lower_layers_learn_more_slowly(shards: Path, tmp_path: Path) -> None:
    # One step of SGD moves a weight by its learning rate times its gradient.
    one_step = ["--model.freeze", "none", "--mixing", "0", "--batch-size", str(NUM_TRAIN), "--epochs", "1"]
    one_step += ["--optimizer.name", "sgd", "--optimizer.warmup-epochs", "0"]
    found = {}
    for name, more in (
        ("start", ["--epochs", "0"]),
        ("plain", []),
        ("decayed", ["--model.layer-decay", "0.5"]),
    ):
        out = tmp_path / name
        result = run(python("pretrain/run.py", *words(shards, out), *one_step, *more), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        found[name] = weights(out)
    depths = {"projection.weight": 0, "trunk.layer4.0.conv1.weight": 1, "trunk.layer1.0.conv1.weight": 4}
    for part, depth in depths.items():
        for name in (f"image_tower.{part}", f"sound_tower.{part}"):
            plain, decayed = (found[run][name] - found["start"][name] for run in ("plain", "decayed"))
            assert float(decayed.norm() / plain.norm()) == pytest.approx(0.5**depth, rel=0.02)


def test_one_frozen_tower_is_trained_live_without_moving(shards: Path, tmp_path: Path) -> None:
    more = ["--model.freeze", "sound", "--epochs", "1"]
    result = run(python("pretrain/run.py", *words(shards, tmp_path / "run"), *more), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    more = ["--model.freeze", "sound", "--epochs", "0"]
    result = run(python("pretrain/run.py", *words(shards, tmp_path / "start"), *more), cwd=tmp_path)
    before, after = weights(tmp_path / "start"), weights(tmp_path / "run")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any(name.startswith("image_tower.trunk.") for name in moved)
    assert not any(name.startswith("sound_tower.trunk.") for name in moved)
    assert not (tmp_path / "run" / "features").exists()
    TwoTower.from_pretrained(tmp_path / "run")


@pytest.mark.parametrize("frozen", ["image,sound", "none"])
def test_every_ingredient_for_few_pairs_trains_live_and_on_features(frozen: str, shards: Path, tmp_path: Path) -> None:
    more = ["--loss.positives", "place", "--loss.label-smoothing", "0.1", "--model.head-hidden", "48"]
    more += ["--data.mask-frames", "0.2", "--data.mask-bands", "0.2", "--data.level-db", "6", "--data.flips"]
    more += ["--data.right-angles", "--data.rotation-degrees", "0", "--model.freeze", frozen, "--mixing", "0"]
    more += ["--epochs", "3" if frozen != "none" else "1"]
    out = tmp_path / "run"
    result = run(python("pretrain/run.py", *words(shards, out), *more, "--log-every-steps", "1"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    losses = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in losses if line["split"] == "train"]
    assert losses[-1] < losses[0]
    assert weights(out)["image_tower.projection.2.weight"].shape == (128, 48)
    evaluate = ["evaluate", "--weights", out, "--shards", shards, "--split", "val", "--crops", "1"]
    result = run(python("retrieval/run.py", *evaluate, "--out", tmp_path / "retrieval"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    if frozen != "none":
        assert np.load(out / "features" / "train-place_group.npy").dtype == np.int64


UNFROZEN = ["--model.unfreeze-epochs", "2", "--mixing", "0", "--optimizer.name", "sgd", "--model.norm", "group"]
UNFROZEN += ["--optimizer.warmup-epochs", "0", "--optimizer.final-fraction", "1", "--model.layer-decay", "0.5"]
UNFROZEN += ["--validation.every-epochs", "2"]


@pytest.fixture(scope="module")
def unfrozen(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four epochs whose encoders were frozen for two."""
    folder = tmp_path_factory.mktemp("unfrozen") / "run"
    result = run(python("pretrain/run.py", *words(shards, folder), *UNFROZEN, "--epochs", "4"), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


def last_weights(folder: Path) -> dict[str, torch.Tensor]:
    newest = max((folder / "checkpoints").iterdir())
    return load_file(newest / "weights.safetensors")


def test_encoders_are_trained_from_the_epoch_on_that_is_asked_for(shards: Path, unfrozen: Path, tmp_path: Path) -> None:
    pieces = tmp_path / "pieces"
    result = run(python("pretrain/run.py", *words(shards, pieces), *UNFROZEN, "--epochs", "2"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    start, middle = (load_file(folder / "weights.safetensors") for folder in sorted((pieces / "checkpoints").iterdir()))
    for epochs in ("3", "4"):
        result = run(python("pretrain/run.py", "--resume", pieces, "--epochs", epochs), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    card = (unfrozen / "model" / "README.md").read_text()
    assert "| frozen encoders | image, sound, for the first 2 epochs |" in card
    assert "projections trained without labels" not in card
    whole, end = last_weights(unfrozen), last_weights(pieces)
    assert all(torch.equal(whole[name], end[name]) for name in whole)
    for tower in ("image", "sound"):
        name = f"towers.{tower}_tower.trunk.layer4.0.conv1.weight"
        assert torch.equal(start[name], middle[name])
        assert not torch.equal(middle[name], end[name])
        name = f"towers.{tower}_tower.projection.weight"
        assert not torch.equal(start[name], middle[name])


def test_two_processes_unfreeze_as_one(shards: Path, unfrozen: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run_together(python("pretrain/run.py", *words(shards, out), *UNFROZEN, "--epochs", "4"), cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    before, alone = (
        load_file(folder / "weights.safetensors") for folder in sorted((unfrozen / "checkpoints").iterdir())
    )
    together = last_weights(out)
    for name in ("image_tower.trunk.layer4.0.conv1.weight", "sound_tower.trunk.layer1.0.conv1.weight"):
        # In one epoch it moved far more than the two runs differ.
        moved = alone[f"towers.{name}"] - before[f"towers.{name}"]
        assert float((together[f"towers.{name}"] - alone[f"towers.{name}"]).norm() / moved.norm()) < 0.02


def test_seconds_count_the_pass_over_the_encoders(shards: Path, tmp_path: Path) -> None:
    more = ["--epochs", "100000", "--checkpoint.every-epochs", "100000", "--validation.every-epochs", "100000"]
    out = tmp_path / "short"
    result = run(python("pretrain/run.py", *words(shards, out), *more, "--max-seconds", "0.001"), cwd=tmp_path)
    assert result.returncode == 2
    assert (
        "which preparing the data took (such as features of frozen encoders), got 0.001; start again with more"
        in result.stderr
    )
    out = tmp_path / "long"
    more += ["--log-every-steps", "1", "--optimizer.warmup-epochs", "0", "--optimizer.final-fraction", "0"]
    result = run(python("pretrain/run.py", *words(shards, out), *more, "--max-seconds", "10"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    state = json.loads((out / "summary.json").read_text())
    assert 0.5 < state["preparing_seconds"] < state["training_seconds"]
    assert 10 <= state["training_seconds"] < 11
    rates = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in rates if line["split"] == "train"]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[-1] < 1e-5
