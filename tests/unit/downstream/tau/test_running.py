"""How a run on TAU's scenes is wired: what is trained, what is frozen, whose statistics; mistakes before decoding."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from downstream.benchmarks import defaults_of
from downstream.command_line import parse
from downstream.tau.clip_files import ClipFiles
from downstream.tau.clip_splits import split_clips
from downstream.tau.demo_clips import write_demo
from downstream.tau.demo_tau import DEMO_TAU
from downstream.tau.joint_network import AcousticEncoder
from downstream.tau.kind import TauRunSettings
from downstream.tau.network_files import ACOUSTIC
from downstream.tau.running import EMBEDDINGS_NAME, run_tau
from downstream.tau.settings import TauSettings
from pretrain.preemption import PreemptionWatch
from shards.errors import UserError

PRETRAINED, TRAINABLE = ("pipeline", "joint-pretrained"), ("pipeline-trainable", "joint")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training clips and a test clip of each class; what runs write stands beside it."""
    folder = tmp_path_factory.mktemp("tau") / "root"
    write_demo(folder, train_clips=2, test_clips=1)
    return folder


def settings_of(root: Path, strategy: str, acoustic_run: Path | None = None, **changes: Any) -> TauRunSettings:
    """One epoch of two steps."""
    tau = TauSettings(
        strategy=strategy,  # type: ignore[arg-type]
        features="fbank",
        cache=root.parent / "frames",
        train_frames=4,
        acoustic_run=acoustic_run,
    )
    small = {"epochs": 1, "batch_size": 20, "image_size": 32, "workers": 0, "threads": 1, "precision": "fp32"}
    base = replace(defaults_of("demo-tau", "paper"), root=root, out=root.parent / strategy)
    return replace(base, tracker="none", tau=tau, **{**small, **changes})


def run(settings: TauRunSettings) -> bool:
    settings.out.mkdir(exist_ok=True)
    return run_tau(DEMO_TAU, settings, Accelerator(cpu=True), PreemptionWatch(), resume=False)


def acoustic_tensors(out: Path) -> dict[str, torch.Tensor]:
    tensors = safetensors.torch.load((out / "model" / "model.safetensors").read_bytes())
    return {name.removeprefix(ACOUSTIC): value for name, value in tensors.items() if name.startswith(ACOUSTIC)}


@pytest.fixture(scope="module")
def encoder_run(root: Path) -> Path:
    """What a run of strategy pipeline trains first, in its own folder."""
    assert run(settings_of(root, "pipeline"))
    return root.parent / "pipeline" / "acoustic"


@pytest.fixture(scope="module")
def statistics(root: Path, encoder_run: Path) -> np.ndarray:  # that run decodes the clips
    """(2, 2, 256) of the training clips' frames: not of validation and test clips, nor of the seconds alone."""
    data, tau = DEMO_TAU.load(root, allow_partial=False), TauSettings()
    split = split_clips(data.train, data.test, val_fraction=tau.val_fraction, val_by=tau.val_by, seed=0)
    assert len(split.train) == len(split.val) == 10
    files = ClipFiles(root.parent / "frames", "fbank", tau.frame_side)
    frames = np.concatenate([files.acoustic(clip)[:56] for clip in split.train]).astype(np.float64)
    return np.stack([frames.mean(0), frames.std(0)]).astype(np.float32)


@pytest.mark.parametrize("strategy", [*PRETRAINED, *TRAINABLE])
def test_what_each_strategy_of_the_ablation_trains(
    strategy: str, root: Path, encoder_run: Path, statistics: np.ndarray
) -> None:
    out = root.parent / strategy
    if strategy != "pipeline":
        assert run(settings_of(root, strategy, encoder_run if strategy in PRETRAINED else None))
    after = acoustic_tensors(out)
    if strategy in PRETRAINED:
        before = acoustic_tensors(encoder_run)
        assert before.keys() == after.keys()
        moved = [name for name in before if before[name].numpy().tobytes() != after[name].numpy().tobytes()]
        assert moved == []
    else:
        set_seed(0)
        before = AcousticEncoder(statistics).state_dict()
        moved = [name for name in before if not torch.equal(before[name], after[name])]
        assert {"blocks.0.path.0.weight", "blocks.3.skip.weight", "head.0.weight", "head.4.weight"} <= set(moved)
    np.testing.assert_allclose(after["mean"], statistics[0], atol=1e-4)
    np.testing.assert_allclose(after["std"], statistics[1], rtol=1e-3)
    assert (out / EMBEDDINGS_NAME).is_file() is (strategy in ("pipeline", "pipeline-trainable"))
    assert not (encoder_run / EMBEDDINGS_NAME).exists()


def test_an_encoder_that_knows_the_validating_clips_or_is_not_done_is_refused(
    root: Path, encoder_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"seed must be that of tau\.acoustic_run .*, 0, got 1: .* would validate here"):
        run(settings_of(root, "pipeline", encoder_run, seed=1, out=tmp_path / "other"))
    unfinished = tmp_path / "unfinished"
    shutil.copytree(encoder_run, unfinished)
    (unfinished / "results.json").unlink()
    with pytest.raises(UserError, match=r"has no results\.json yet; go on with it first, by --resume"):
        run(settings_of(root, "pipeline", unfinished, out=tmp_path / "another"))


def test_more_epochs_are_not_given_to_the_second_network_alone(root: Path, encoder_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "pipeline"
    shutil.copytree(root.parent / "pipeline", out)
    (out / "results.json").unlink()
    with pytest.raises(
        UserError, match=r"epochs is 1 in .*acoustic, which is finished, and can't be changed to 3; name an"
    ):
        run(settings_of(root, "pipeline", epochs=3, out=out))


@pytest.mark.parametrize(
    ("strategy", "weights", "acoustic_run", "sentence"),
    [
        ("joint", "nowhere.pth", None, "nowhere.pth"),
        ("pipeline", "nowhere.pth", None, "nowhere.pth"),
        ("pipeline", "random", Path("no-run"), "no network in no-run/model"),
    ],
)
def test_what_was_trained_before_is_read_before_anything_is_decoded(
    strategy: str, weights: str, acoustic_run: Path | None, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=sentence):
        run(settings_of(tmp_path / "root", strategy, acoustic_run, weights=weights))
    # Not even the demo's clips were written.
    assert [path.name for path in tmp_path.rglob("*")] == [strategy]


def test_a_number_of_seeds_is_refused(tmp_path: Path) -> None:
    words = ["demo-tau", "--root", str(tmp_path / "none-yet"), "--out", str(tmp_path / "out")]
    assert parse(words).settings.epochs == 150
    whose = "scene recognition, transfer of sound events and sound events"
    with pytest.raises(UserError, match=f"num_seeds has no effect on demo-tau: it is a setting of {whose}; omit it"):
        parse([*words, "--num-seeds", "3"])
