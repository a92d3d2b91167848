"""A loss and a method of a user's own, each one file outside Earshot: trained, recorded, resumed and evaluated."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from commands import SMALL, python, run

from pretrain.training.metrics_file import MetricsFile

LOSS = '''
from dataclasses import dataclass

import torch

from pretrain.losses.pair_loss import PairLoss
from pretrain.losses.settings import LossSettings
from pretrain.settings.rules import Positive


class HardestLoss(PairLoss):
    on_sphere = False

    def __init__(self, margin):
        super().__init__()
        self.margin = margin

    def forward(self, image_embeddings, sound_embeddings):
        distances = torch.cdist(image_embeddings.float(), sound_embeddings.float())
        true = distances.diagonal()
        hardest = (distances + 1e6 * torch.eye(len(distances))).min(1).values
        return (true - hardest + self.margin).relu().mean()


@dataclass(frozen=True)
class Hardest(LossSettings):
    """The hardest mismatch of each image."""

    margin: Positive = 0.5
    """By how much a pair must be nearer than the hardest mismatch."""

    def build(self, embedding_dim):
        return HardestLoss(self.margin)
'''

METHOD = '''
from dataclasses import dataclass, field

from pretrain.methods.audiovisual import Audiovisual
from pretrain.methods.settings import AudiovisualConfig


@dataclass(frozen=True)
class PullSettings:
    weight: float = 0.1
    """Weight of the squared length of the embeddings."""


@dataclass(frozen=True)
class Pulled(AudiovisualConfig):
    """Audiovisual, with embeddings kept short."""

    pull: PullSettings = field(default_factory=PullSettings)

    def build(self, manifest):
        method = PulledMethod.from_config(self, manifest)
        method.weight = self.pull.weight
        return method


class PulledMethod(Audiovisual):
    def loss(self, embeddings, inputs):
        lengths = sum(part.float().square().sum(1).mean() for part in embeddings.values())
        return super().loss(embeddings, inputs) + self.weight * lengths
'''

OPTIONS = [*SMALL, "--precision", "fp32", "--log-every-steps", "1"]


def test_a_loss_of_ones_own_is_one_file(tiny_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "my_losses.py").write_text(LOSS)
    words = ["--shards", tiny_shards, "--out", "run", "--loss.name", "my_losses:Hardest", "--loss.margin", "0.25"]
    result = run(python("pretrain/run.py", *words, *OPTIONS, "--epochs", "1"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["loss"] == {"name": "my_losses:Hardest", "margin": 0.25}
    assert "loss `my_losses:Hardest`" in (tmp_path / "run" / "model" / "README.md").read_text()

    result = run(python("pretrain/run.py", "--resume", "run", "--epochs", "2"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    epochs = [line["epoch"] for line in MetricsFile(tmp_path / "run").read() if line["split"] == "train"]
    assert (epochs[0], epochs[-1]) == (0, 1)

    release = python("pretrain/run.py", "release", "run", "--out", "released")
    result = run(release, cwd=tmp_path)
    assert result.returncode == 2
    assert "uses the loss.name my_losses:Hardest, which is not part of Earshot" in result.stderr
    result = run(release, cwd=tmp_path, EARSHOT_PLUGINS="my_losses:Hardest")
    assert result.returncode == 0, result.stderr
    assert "loss `my_losses:Hardest`" in (tmp_path / "released" / "README.md").read_text()

    result = run(python("pretrain/run.py", *words[:-1], "-1"), cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "error: loss.margin must be > 0, got -1.0\n")
    result = run(python("pretrain/run.py", *words[:-2], "--loss.reduction", "sum"), cwd=tmp_path)
    assert "loss.name my_losses:Hardest has no setting loss.reduction, which batch-triplet" in result.stderr


def test_a_method_of_ones_own_is_one_file(tiny_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "my_methods.py").write_text(METHOD)
    words = ["--shards", tiny_shards, *OPTIONS, "--epochs", "1", "--method", "my_methods:Pulled"]
    for out, weight in (("light", "0"), ("heavy", "10")):
        command = python("pretrain/run.py", *words, "--out", out, "--pull.weight", weight)
        result = run(command, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert yaml.safe_load((tmp_path / "heavy" / "config.yaml").read_text())["pull"] == {"weight": 10.0}
    light, heavy = (MetricsFile(tmp_path / out).read()[0]["loss"] for out in ("light", "heavy"))
    assert heavy > light + 1e-3

    # The towers are Earshot's own: nobody who loads them needs the method.
    (tmp_path / "my_methods.py").unlink()
    evaluate = ["evaluate", "--weights", "heavy", "--shards", tiny_shards, "--split", "val", "--out", "ranks"]
    result = run(python("retrieval/run.py", *evaluate), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "ranks" / "metrics.json").read_text())["gallery_size"] > 1


def test_what_builds_no_method_is_refused(tiny_shards: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text(
        "from dataclasses import dataclass\nfrom pretrain.settings.pretraining import Config\n"
        "@dataclass(frozen=True)\nclass Empty(Config):\n    def build(self, manifest):\n        return None\n"
        "@dataclass(frozen=True)\nclass Unbuilt(Config):\n    pass\n"
    )
    words = ["--shards", tiny_shards, "--out", "run", "--method", "empty:Empty", *OPTIONS]
    result = run(python("pretrain/run.py", *words), cwd=tmp_path)
    assert result.returncode == 2
    assert "method empty:Empty must build a pretrain.methods.interface.Method, it built a NoneType" in result.stderr
    result = run(python("pretrain/run.py", *words[: -len(OPTIONS) - 1], "empty:Unbuilt", *OPTIONS), cwd=tmp_path)
    assert "method empty:Unbuilt must set `implementation` or define `build`" in result.stderr
    result = run(python("pretrain/run.py", "--method", "empty:Nothing"), cwd=tmp_path)
    assert "method empty:Nothing: empty has no 'Nothing'; name an object it defines" in result.stderr
