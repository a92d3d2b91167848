"""MoCo on 2 processes: the losses, queue and momentum encoder of one, under data parallel and DeepSpeed's ZeRO."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import CONSTANT_RATE, REPOSITORY, SMALL_INPUTS, python, run_together, with_deepspeed
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from two_processes import on_two_processes

from pretrain.data.strong_views import StrongImageView
from pretrain.data.views import TwoImageViews
from pretrain.methods.moco import Moco, random_order
from pretrain.methods.settings import MocoSettings
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.settings.pretraining import StrongViewSettings
from pretrain.training.metrics_file import MetricsFile

MOMENTUM = 0.6
OPTIONS = [
    *("demo", *SMALL_INPUTS, *CONSTANT_RATE, "--method", "moco", "--moco.queue-size", "36", "--model.norm", "group"),
    *("--moco.momentum", str(MOMENTUM), "--epochs", "2", "--seed", "3", "--log-every-steps", "1"),
    *("--optimizer.learning-rate", "1e-4", "--checkpoint.every-steps", "1", "--checkpoint.keep", "9"),
]
LAST_STEP = 6
QUERY_WEIGHT = "towers.image_tower.trunk.layer1.0.conv1.weight"


def train(words: list[str | Path], run_folder: Path, *, processes: int = 2, **more: str) -> dict[str, object]:
    """Trains to the end, in the checkout, from where DeepSpeed's files are found; the run's summary."""
    command = python("pretrain/run.py", *words)
    result = run_together(command, processes=processes, cwd=REPOSITORY, **more)
    assert result.returncode == 0, result.stderr[-4000:]
    summary: dict[str, object] = json.loads((run_folder / "summary.json").read_text())
    return summary


def losses(run_folder: Path) -> list[float]:
    return [line["loss"] for line in MetricsFile(run_folder).read() if line["split"] == "train"]


def weights(run_folder: Path, step: int) -> dict[str, Tensor]:
    return load_file(run_folder / "checkpoints" / f"step-{step:08d}" / "weights.safetensors")


def assert_went_the_same_way(run_folder: Path, expected_folder: Path) -> None:
    """Losses, queue, and weights of both encoders are those of another run, but for what rounding does to Adam."""
    assert len(losses(run_folder)) == LAST_STEP
    assert losses(run_folder) == pytest.approx(losses(expected_folder), rel=2e-4)
    begun, found, expected = (
        weights(folder, step) for folder, step in ((expected_folder, 1), (run_folder, 6), (expected_folder, 6))
    )
    assert found.keys() == expected.keys()
    for name in (QUERY_WEIGHT, f"momentum_{QUERY_WEIGHT}"):
        way = (expected[name] - begun[name]).norm()
        assert way > 0
        assert (found[name] - expected[name]).norm() < 0.2 * way
    assert (found["contrast.queue"] - expected["contrast.queue"]).norm(dim=1).max() < 1e-2
    for name in ("contrast.queue_next", "contrast.queue_filled", "draws"):
        assert found[name] == expected[name], name


def assert_the_momentum_encoder_follows(run_folder: Path) -> None:
    """Each step of it is its formula's, from the weights that the checkpoints hold."""
    followed = 0
    for step in range(2, LAST_STEP + 1):
        before, after = weights(run_folder, step - 1), weights(run_folder, step)
        for name in (name for name in after if name.startswith("momentum_")):
            target = after[name.removeprefix("momentum_")]
            expected = MOMENTUM * before[name] + (1 - MOMENTUM) * target
            torch.testing.assert_close(after[name], expected, rtol=1e-5, atol=1e-7, msg=name)
            followed += not torch.equal(before[name], after[name])
    assert followed > 30 * (LAST_STEP - 1)


@pytest.fixture(scope="module")
def alone(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    summary = train([*OPTIONS, "--shards", tiny_shards, "--out", folder], folder, processes=1)
    assert (summary["num_processes"], summary["distributed_type"]) == (1, "NO")
    assert losses(folder)[0] == 0  # no keys of earlier batches yet
    assert min(losses(folder)[1:]) > 1
    assert_the_momentum_encoder_follows(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("chunk_size", ["0", "5"])
def test_two_processes_train_as_one(chunk_size: str, alone: Path, tiny_shards: Path, tmp_path: Path) -> None:
    # In chunks of 5 of a process's 8 images too: keys are then shuffled within the chunks of both processes.
    folder = tmp_path / "run"
    words = [*OPTIONS, "--shards", tiny_shards, "--out", folder, "--optimizer.chunk-size", chunk_size]
    words += ["--moco.key-groups", "1"] if chunk_size != "0" else []
    summary = train(words, folder, ACCELERATE_USE_CPU="true")
    assert (summary["num_processes"], summary["distributed_type"]) == (2, "MULTI_CPU")
    assert_the_momentum_encoder_follows(folder)
    if chunk_size == "0":
        assert_went_the_same_way(folder, alone)
    else:
        assert losses(folder) == pytest.approx(losses(alone), rel=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["zero1", "zero2", "zero3", "zero3_offload"])
def test_zero_trains_as_one_process_does(stage: str, alone: Path, tiny_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    summary = train([*OPTIONS, "--shards", tiny_shards, "--out", folder], folder, **with_deepspeed(stage))
    assert (summary["num_processes"], summary["distributed_type"]) == (2, "DEEPSPEED")
    assert summary["zero_stage"] == int(stage[4])
    assert_the_momentum_encoder_follows(folder)
    assert_went_the_same_way(folder, alone)


@pytest.mark.slow
def test_a_run_goes_on_under_another_stage(alone: Path, tiny_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = [*OPTIONS, "--shards", tiny_shards, "--out", folder, "--epochs", "1"]
    train(words, folder, **with_deepspeed("zero3"))
    summary = train(["--resume", folder, "--epochs", "2"], folder, **with_deepspeed("zero2"))
    assert (summary["num_processes"], summary["zero_stage"], summary["step"]) == (2, 2, LAST_STEP)
    assert_the_momentum_encoder_follows(folder)
    assert_went_the_same_way(folder, alone)


def images() -> Tensor:
    """Those of both processes."""
    pixels = torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(1))
    return (pixels * torch.linspace(0.2, 1, 12).view(-1, 1, 1, 1)).to(torch.uint8)


def one_of_two(process: int, folder: str) -> None:
    """Keys with batch norm against the definition, and a queue that DistributedDataParallel leaves alone."""
    torch.manual_seed(0)
    towers = TwoTower(TwoTowerConfig(embedding_dim=8, image_size=32))
    views = TwoImageViews(StrongImageView(StrongViewSettings(), 32), 32)
    method = Moco(towers, views, MocoSettings(queue_size=12, key_groups=2)).train()
    prepared = DistributedDataParallel(method)
    method.contrast.queue.fill_(process)
    own = images()[6 * process : 6 * (process + 1)]

    order = random_order(12, torch.tensor(0))
    expected = torch.empty(12, 8)
    with torch.no_grad():
        for group in order.split(3):  # 2 processes with 2 groups each
            embeddings = method.momentum_towers.encode_image(images()[group])
            expected[group] = F.normalize(method.momentum_rest_of_head(embeddings), dim=1)
    keys = prepared({"image": own, "other_image": own})["key"]
    torch.testing.assert_close(keys, expected[6 * process : 6 * (process + 1)], rtol=1e-4, atol=1e-5)
    assert method.contrast.queue.eq(process).all()


def test_keys_are_shuffled_over_processes_and_the_queue_is_not_sent_around(tmp_path: Path) -> None:
    on_two_processes(one_of_two, tmp_path)
