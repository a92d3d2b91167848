"""The tuned protocol: its recipe, its search, and that the test part is seen once, at the end."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from scene_folders import settings_of, small_encoder, small_job, write_scenes

from downstream.scenes import job as scene_job
from downstream.scenes import tuned
from downstream.scenes.augmentation import RandomSceneView
from downstream.scenes.classification import SceneRecognition
from downstream.scenes.job import SceneJob, SceneOutcome
from downstream.scenes.kind import SceneSettings
from downstream.scenes.tuned import LAYER_DECAY, TunedRecognition, TunedRun, run_tuned
from pretrain.encoders.building import build_encoder
from pretrain.optimization import layer_lr_scales
from pretrain.settings.training import ValidationSettings
from pretrain.training.loop import Loop
from pretrain.training.processes import start_accelerator
from pretrain.training.run_folder import list_checkpoints
from shards.errors import UserError


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(tmp_path_factory.mktemp("scenes") / "root", 20, noise=60.0)


@pytest.fixture
def settings(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SceneSettings:
    """Three epochs of four steps on two seeds, of a small network."""
    monkeypatch.setattr(scene_job, "load_encoder", lambda *_, seed, **__: small_encoder(seed))
    # Early stopping would make what is trained hang on the smallest differences.
    return settings_of(
        "tuned", scenes, tmp_path / "out", num_seeds=2, epochs=3, validation=ValidationSettings(patience_epochs=0)
    )


@pytest.fixture
def accelerator(settings: SceneSettings) -> Accelerator:
    return start_accelerator(settings)


def test_layers_learn_slower_towards_the_pixels() -> None:
    names = ["layer4.1.bn2.bias", "layer3.0.conv1.weight", "layer1.0.conv1.weight", "conv1.weight", "bn1.bias"]
    scales = layer_lr_scales(build_encoder("resnet18", channels=3), LAYER_DECAY)
    assert [scales[name] for name in names] == pytest.approx([LAYER_DECAY**i for i in (1, 2, 4, 5, 5)])


def test_each_block_of_a_transformer_is_a_layer() -> None:
    scales = layer_lr_scales(build_encoder("timm:test_vit", channels=3, input_size=(32, 32)), LAYER_DECAY)
    blocks = [scales[f"network.blocks.{i}.mlp.fc1.weight"] for i in range(6)]
    assert blocks == pytest.approx([LAYER_DECAY**i for i in (6, 5, 4, 3, 2, 1)])
    first = [scales[f"network.{name}"] for name in ("patch_embed.proj.weight", "cls_token", "pos_embed")]
    assert first == pytest.approx([LAYER_DECAY**7] * 3)


def test_the_optimiser_has_these_learning_rates(
    settings: SceneSettings, accelerator: Accelerator, tmp_path: Path
) -> None:
    task = tuned._task(small_job(settings, accelerator), settings)
    groups = task.optimizer().param_groups
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    found = {name: scale[id(p)] for name, p in task.module.named_parameters()}
    assert found["head.bias"] == groups[0]["lr_scale"] == 1.0
    assert found["trunk.layer4.weight"] == LAYER_DECAY
    assert found["trunk.conv1.weight"] == pytest.approx(LAYER_DECAY**2)


def test_labels_are_smoothed(settings: SceneSettings, accelerator: Accelerator) -> None:
    task = tuned._task(small_job(settings, accelerator), settings)
    certain = {"logits": torch.tensor([[20.0, 0.0, 0.0]])}
    # A tenth of the label is spread over the three classes: two thirds of that are 20 nats away.
    loss = task.loss(certain, {"label": torch.tensor([0])})
    assert float(loss) == pytest.approx(20 * 0.1 * 2 / 3, rel=1e-4)
    assert float(SceneRecognition.loss(_plain(task), certain, {"label": torch.tensor([0])})) < 1e-6


def _plain(task: TunedRecognition) -> SceneRecognition:
    task.label_smoothing = 0.0
    return task


def test_views_follow_their_seed_and_show_all_symmetries() -> None:
    view = pickle.loads(pickle.dumps(RandomSceneView(32)))
    image = np.zeros((60, 80, 3), np.uint8)
    image[:30, :40] = 200
    image[:30, 40:] = 90
    first = view(image, 7)
    view(image, 8)
    np.testing.assert_array_equal(view(image, 7), first)
    np.testing.assert_array_equal(RandomSceneView(32)(image, 7), first)
    assert (first.shape, first.dtype) == ((3, 32, 32), np.uint8)
    # The bright corner and the grey one beside it can lie in four corners and on either side of each other.
    places = set()
    for seed in range(120):
        seen = view(image, seed).mean(0)
        corners = [seen[y, x] for y in (2, 29) for x in (2, 29)]
        order = np.argsort(corners)[::-1]
        if sorted(corners)[2] > 30 and sorted(corners)[3] > sorted(corners)[2] + 30 and sorted(corners)[1] < 20:
            places.add((int(order[0]), int(order[1])))
    assert len(places) == 8


def test_only_the_validation_part_is_seen_while_training(
    settings: SceneSettings, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[tuple[str, str]] = []
    score = SceneRecognition.score

    def noted(self: SceneRecognition, module: Any, part: str) -> Any:
        scored.append((f"{self.settings.out.parent.name}/{self.settings.out.name}", part))
        return score(self, module, part)

    monkeypatch.setattr(SceneRecognition, "score", noted)
    outcome = run_tuned(small_job(settings, accelerator))
    assert outcome is not None
    searched = [f"seed-0/lr-{rate:g}" for rate in (0.001 / 3, 0.001, 0.003)]
    best = f"lr-{outcome.details['seeds'][0]['learning_rate']:g}"
    trained = [(folder, "val") for folder in (*searched, f"seed-1/{best}") for _ in range(3)]
    assert scored == [*trained, (f"seed-0/{best}", "test"), (f"seed-1/{best}", "test")]


@pytest.mark.parametrize(("errors", "chosen"), [([0.4, 0.2, 0.3], 0.001), ([0.2, 0.3, 0.2], 0.001 / 3)])
def test_the_best_on_the_validation_part_is_taken_and_of_equals_the_lowest(
    errors: list[float],
    chosen: float,
    settings: SceneSettings,
    accelerator: Accelerator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job, given = small_job(settings, accelerator), iter([*errors, 0.5])
    task = tuned._task(job, settings)
    summary = {"best_step": 1, "step": 1, "stopped_early": False, "seconds": 1.0}

    def train(job: SceneJob, seed: int, learning_rate: float) -> TunedRun:
        run_settings = tuned._settings(job, seed, learning_rate)
        return TunedRun(run_settings, task.split, {**summary, "best_error": next(given)})

    monkeypatch.setattr(tuned, "_train", train)
    monkeypatch.setattr(tuned, "_score", lambda *_, **__: (np.zeros((1, 3)), {"accuracy": 0.5}))
    outcome = run_tuned(job)
    assert outcome is not None
    assert [seed["learning_rate"] for seed in outcome.details["seeds"]] == pytest.approx([chosen, chosen])
    assert outcome.seconds == 4.0


def check(outcome: SceneOutcome, settings: SceneSettings) -> None:
    assert [seed["seed"] for seed in outcome.details["seeds"]] == outcome.seeds == [0, 1]
    rates = [run["learning_rate"] for run in outcome.details["search"]]
    assert rates == pytest.approx([0.001 / 3, 0.001, 0.003])
    best = max(run["val_accuracy"] for run in outcome.details["search"])
    first = outcome.details["seeds"][0]
    assert first["val_accuracy"] == best
    assert first["learning_rate"] == outcome.details["seeds"][1]["learning_rate"]
    (scores,) = outcome.epochs
    accuracies = [seed["accuracy"] for seed in outcome.details["seeds"]]
    assert scores["accuracy"] == pytest.approx(np.mean(accuracies))
    assert scores["accuracy_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    truth = [item.label for item in outcome.split.test]
    assert (outcome.probabilities.argmax(1) == truth).mean() == pytest.approx(first["accuracy"])
    assert (len(outcome.split.train), len(outcome.split.val), len(outcome.split.test)) == (27, 3, 30)
    assert (settings.out / "model" / "model.safetensors").is_file()
    # Finished runs need no checkpoints.
    assert not list(settings.out.rglob("step-*"))


def test_an_interrupted_search_ends_as_one_that_was_not(
    settings: SceneSettings, accelerator: Accelerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_tuned(small_job(settings, accelerator))
    assert whole is not None
    check(whole, settings)

    interrupted = dataclasses.replace(settings, out=tmp_path / "interrupted")
    job = small_job(interrupted, accelerator)
    asked = 0

    def requested(step: int) -> bool:
        # In the middle of the second run of the search, once.
        nonlocal asked
        asked += 1
        return asked == 17

    monkeypatch.setattr(job.preemption, "is_requested", requested)
    assert run_tuned(job) is None
    assert (interrupted.out / "seed-0" / "lr-0.000333333" / "summary.json").is_file()
    second = interrupted.out / "seed-0" / "lr-0.001"
    assert not (second / "summary.json").exists()
    assert [path.name for path in list_checkpoints(second)][-1] == "step-00000006"

    trained: list[str] = []
    run = Loop.run

    def noted(self: Loop) -> dict[str, Any]:
        trained.append(f"{self.folder.parent.name}/{self.folder.name} from {self.resume}")
        return run(self)

    monkeypatch.setattr(Loop, "run", noted)
    again = run_tuned(small_job(interrupted, accelerator, resume=True))
    assert again is not None
    check(again, interrupted)
    best = f"lr-{whole.details['seeds'][0]['learning_rate']:g}"
    assert trained == ["seed-0/lr-0.001 from True", "seed-0/lr-0.003 from False", f"seed-1/{best} from False"]
    assert again.details == whole.details
    np.testing.assert_array_equal(again.probabilities, whole.probabilities)

    with pytest.raises(UserError, match=r"epochs is 3 in .*lr-0.000333333 and can't be changed to 5"):
        run_tuned(small_job(dataclasses.replace(interrupted, epochs=5), accelerator, resume=True))
