"""Methods on images alone as a user runs them: a run, a kill and a resume, what takes their models, and collapse."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from accelerate.utils import set_seed
from commands import SMALL_INPUTS, last_step, python, run, stop_when
from model_takers import assert_retrieval_and_downstream_take

from pretrain.model import TwoTower
from pretrain.settings.files import load_settings
from pretrain.settings.pretraining import Config
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints
from shards.streaming.reading import ShardSet

METHOD_WORDS = {
    "image-contrastive": [],
    "simclr": [],
    "tile2vec": ["--tile2vec.far-km", "3000"],
}
EPOCHS, STEPS_PER_EPOCH = 5, 3
OPTIONS = [*SMALL_INPUTS, "--precision", "bf16", "--epochs", str(EPOCHS), "--log-every-steps", "1"]
OPTIONS += ["--checkpoint.every-steps", "2"]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name == "simclr" else pytest.mark.slow) for name in METHOD_WORDS],
)
def words(request: pytest.FixtureRequest, tiny_shards: Path) -> list[str | Path]:
    """The words of a method's run, in bf16."""
    return ["demo", "--method", request.param, *METHOD_WORDS[request.param], "--shards", tiny_shards, *OPTIONS]


@pytest.fixture(scope="module")
def finished(words: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run, never stopped."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    result = run(python("pretrain/run.py", *words, "--out", folder), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    assert "of an image's other view" in result.stderr
    assert "its model, of the last step" in result.stdout
    return folder


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in MetricsFile(folder).read() if line["split"] == "train"]


def test_a_killed_run_ends_with_the_same_bits(words: list[str | Path], finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = python("pretrain/run.py", *words, "--out", folder)
    stop_when(lambda: last_step(folder) >= 4, command, signal.SIGKILL, cwd=tmp_path)
    assert last_step(folder) < EPOCHS * STEPS_PER_EPOCH
    result = run(python("pretrain/run.py", "--resume", folder), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert losses(folder) == losses(finished)
    ends = [list_checkpoints(each)[-1] / "weights.safetensors" for each in (folder, finished)]
    assert ends[0].parent.name == f"step-{EPOCHS * STEPS_PER_EPOCH:08d}"
    assert ends[0].read_bytes() == ends[1].read_bytes()
    models = [(each / "model" / "model.safetensors").read_bytes() for each in (folder, finished)]
    assert models[0] == models[1]


def test_the_sound_tower_is_as_it_was_initialised_and_the_card_says_so(finished: Path, tiny_shards: Path) -> None:
    config = load_settings(Config, finished / "config.yaml")
    set_seed(config.seed)
    begun = config.build(ShardSet.open(tiny_shards).manifest).towers.state_dict()
    ended = TwoTower.from_pretrained(finished).state_dict()
    assert set(ended) == set(begun)
    for name, value in ended.items():
        if name.startswith("sound_tower"):
            assert torch.equal(value, begun[name]), name
    for name in ("image_tower.trunk.conv1.weight", "image_tower.projection.weight"):
        assert not torch.equal(ended[name], begun[name])
    card = (finished / "model" / "README.md").read_text()
    assert "The sound tower is untrained, with its initial weights" in card
    assert f"| method | {config.method}, on the images alone |" in card


def test_retrieval_and_downstream_take_the_model_as_any_other(
    finished: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    assert_retrieval_and_downstream_take(finished, tiny_shards, tmp_path)


def simclr(shards: Path, folder: Path, *more: str) -> str:
    """What a run of SimCLR with group norm tells its user; under batch norm some spread would be left."""
    words = ["demo", "--method", "simclr", "--shards", shards, "--out", folder, *SMALL_INPUTS, "--model.norm", "group"]
    words += ["--epochs", "3", "--log-every-steps", "1", "--optimizer.warmup-epochs", "0"]
    words += ["--model.image-encoder", "resnet18", "--optimizer.name", "adam"]
    result = run(python("pretrain/run.py", *words, *more), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_simclr_that_collapses_warns_and_one_that_does_not_is_quiet(tiny_shards: Path, tmp_path: Path) -> None:
    hot = simclr(tiny_shards, tmp_path / "hot", "--optimizer.learning-rate", "0.1")
    assert hot.count("warning: the embeddings have collapsed") == 1
    assert "another temperature or a larger batch may help" in hot
    spreads = [line["image_relative_spread"] for line in MetricsFile(tmp_path / "hot").read() if "loss" in line]
    assert spreads[0] > 0.1 > 0.01 > spreads[-1]
    # The loss is then that of embeddings that coincide: log 31.
    assert losses(tmp_path / "hot")[-1][1] == pytest.approx(3.434, abs=0.01)
    assert "collapsed" not in simclr(tiny_shards, tmp_path / "sane", "--optimizer.learning-rate", "3e-4")
