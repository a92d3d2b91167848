"""Sound events for scenes: teachers that are read, networks of two trunks, tables of pairs, and what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pair_folders import SCENES, write_advance
from torch import Tensor

from downstream.audiovisual.benchmark import ScenePair
from downstream.audiovisual.splits import grouped_split
from downstream.benchmarks import defaults_of
from downstream.command_line import parse
from downstream.running.class_activation import class_activations
from downstream.transfer.benchmark import ADVANCE_TRANSFER
from downstream.transfer.event_losses import SceneEvents, events_loss, events_of_scenes, kl_loss, squared_loss
from downstream.transfer.event_pictures import write_event_map
from downstream.transfer.event_tagger import EventTagger, EventTeacher, read_teacher, torchvision_state
from downstream.transfer.heard_sounds import MEL_BANDS, HeardSounds, event_answers, hear
from downstream.transfer.kind import SoundEventSettings, TransferRunSettings
from downstream.transfer.pair_batches import FlippedView, Heard
from downstream.transfer.settings import TransferSettings
from downstream.transfer.task import TransferRecognition
from pretrain.data.batches import next_batch, to_device
from pretrain.settings.rules import check_rules
from pretrain.weights.encoder_weights import load_encoder
from shards.errors import UserError

FRAMES = 32
NUM_EVENTS = 4
LOSSES = ("none", "kl-audio", "kl-joint", "sq-audio", "sq-joint", "events")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def advance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_advance(tmp_path_factory.mktemp("advance") / "root", locations=4)


@pytest.fixture(scope="module")
def pairs(advance: Path) -> list[ScenePair]:
    return ADVANCE_TRANSFER.load(advance, TransferSettings(), allow_partial=True).pairs


@pytest.fixture(scope="module")
def sounds(pairs: list[ScenePair]) -> HeardSounds:
    heard, faults = hear([(pair.key, pair.sound) for pair in pairs], FRAMES, threads=1, max_corrupt=0)
    assert faults == []
    return heard


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> EventTeacher:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("teacher") / "tagger.pth"
    tagger = EventTagger("resnet18", NUM_EVENTS, torch.zeros(MEL_BANDS), torch.ones(MEL_BANDS))
    torch.save(torchvision_state(tagger), file)
    return read_teacher(file)


def settings_of(**transfer: Any) -> TransferRunSettings:
    return TransferRunSettings(
        benchmark="advance-transfer",
        batch_size=4,
        image_size=32,
        workers=0,
        precision="fp32",
        transfer=TransferSettings(num_frames=FRAMES, teacher=Path("teacher"), sound_stride=2, **transfer),
    )


def task_of(
    pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher | None, **transfer: Any
) -> TransferRecognition:
    split = grouped_split(pairs, 0)
    answers = None
    if teacher is not None:
        tagger = teacher.tagger(*sounds.statistics([pair.key for pair in split.train]), stride=2)
        answers = event_answers(tagger, sounds, list(sounds.row), batch_size=5, device=CPU, precision="fp32")
    return TransferRecognition(
        settings_of(**transfer),
        Accelerator(cpu=True),
        load_encoder("random", backbone="resnet18"),
        "resnet18",
        teacher,
        Heard(sounds, answers),
        sorted(SCENES),
        split,
    )


def a_batch(task: TransferRecognition) -> dict[str, Tensor]:
    return to_device(next_batch(task.batches(0, 1)), CPU)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_weight_has_a_part_in_every_loss(
    loss: str, pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss=loss, with_scene_loss=loss == "none")
    batch = a_batch(task)
    value = task.loss(task.module(batch), batch)
    value.backward()
    # Several processes wait for the gradient of each.
    assert [name for name, weight in task.module.named_parameters() if weight.grad is None] == []
    assert torch.isfinite(value)
    moved = {name for name, weight in task.module.named_parameters() if weight.grad is not None and weight.grad.any()}
    sees = loss in ("none", "kl-joint", "sq-joint", "events")
    assert any(name.startswith("image_trunk") for name in moved) == sees
    assert any(name.startswith("scene_head") for name in moved) == (loss in ("none", "events"))
    assert any(name.startswith("sound_trunk") for name in moved)


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_the_whole_loss_is_the_scene_loss_and_alpha_times_the_other(
    loss: str, pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss=loss, alpha=0.25)
    batch = a_batch(task)
    value = task.loss(task.module(batch), batch).item()
    parts, _ = task.step_metrics(1, value, {}, first_loss=None)
    assert value == pytest.approx(parts["scene_loss"] + 0.25 * parts["transfer_loss"])
    probabilities, events, scores = task.score(task.module, "test")
    assert probabilities.sum(1) == pytest.approx(1)
    assert events is not None
    assert events.shape == (len(task.split.test), NUM_EVENTS)
    assert ((events >= 0) & (events <= 1)).all()
    assert 0 <= scores["f1"] <= 1


@pytest.mark.parametrize("over", ["sum", "mean"])
@pytest.mark.parametrize("loss", LOSSES[1:])
def test_the_transfer_loss_is_the_one_that_the_setting_names(
    loss: str, over: str, pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss=loss, over_events=over, beta=0.5)
    batch = a_batch(task)
    outputs = task.module(batch)
    task.loss(outputs, batch)
    answers = batch["answers"]
    expected = {
        "kl": lambda: kl_loss(answers, outputs["events"], over),
        "sq": lambda: squared_loss(answers, outputs["events"], over),
        "events": lambda: events_loss(
            outputs["logits"], answers, batch["label"], known_of(task, task.split.train), beta=0.5, over_events=over
        ),
    }[loss.partition("-")[0]]()
    found = task.step_metrics(1, 0.0, {}, first_loss=None)[0]["transfer_loss"]
    assert found == pytest.approx(expected.mean().item(), rel=1e-5)


def known_of(task: TransferRecognition, part: list[ScenePair]) -> SceneEvents:
    assert task.heard.answers is not None
    rows = [task.heard.sounds.row[pair.key] for pair in part]
    labels = torch.tensor([pair.label for pair in part])
    return events_of_scenes(torch.from_numpy(task.heard.answers[rows]), labels, len(SCENES))


def test_what_sounds_in_scenes_and_how_loud_bands_are_is_known_from_the_training_part(
    pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss="events")
    assert task.known is not None
    of_training, of_all = known_of(task, task.split.train), known_of(task, pairs)
    for name in ("log_present", "log_absent", "directions"):
        torch.testing.assert_close(getattr(task.known, name), getattr(of_training, name))
        assert not torch.equal(getattr(task.known, name), getattr(of_all, name))
    own = sounds.tensor([pair.key for pair in task.split.train]).double()
    torch.testing.assert_close(task.module.input.mean, own.mean((0, 1)).float())
    torch.testing.assert_close(task.module.input.std, own.std((0, 1), correction=0).clamp_min(1).float())
    everything = sounds.tensor([pair.key for pair in pairs]).double()
    assert not torch.allclose(task.module.input.mean, everything.mean((0, 1)).float())
    # A teacher that records its front end keeps that front end.
    bands = (torch.full((MEL_BANDS,), 90.0), torch.full((MEL_BANDS,), 20.0))
    taught = task_of(pairs, sounds, replace(teacher, bands=bands), loss="events")
    torch.testing.assert_close((taught.module.input.mean, taught.module.input.std), bands)


def test_the_network_that_hears_begins_as_its_teacher(
    pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss="kl-audio")
    batch = a_batch(task)
    torch.testing.assert_close(task.module.eval()(batch)["events"], batch["answers"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("modality", "other"), [("image", "sound"), ("sound", "image")])
def test_one_sense_alone_knows_nothing_of_the_other(
    modality: str, other: str, pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss="kl-joint", modality=modality)
    module, batch = task.module.eval(), a_batch(task)
    before = module(batch)
    changed = module({**batch, other: batch[other].flip(0) // 2})
    torch.testing.assert_close(changed["logits"], before["logits"])
    torch.testing.assert_close(changed["events"], before["events"])
    assert not torch.allclose(module({**batch, modality: batch[modality].flip(0) // 2})["logits"], before["logits"])
    # Zeros for all is what two rows of zeros stand for.
    trunk, size = (
        (module.sound_trunk, (4, 1, FRAMES, MEL_BANDS)) if other == "sound" else (module.image_trunk, (4, 3, 32, 32))
    )
    of_zeros = trunk(torch.zeros(size))
    whole = {"image": module.image_trunk, "sound": module.sound_trunk}[modality]
    own = module.input(batch["sound"]) if modality == "sound" else (batch["image"] / 255 - module.mean) / module.std
    features = [whole(own), of_zeros] if modality == "image" else [of_zeros, whole(own)]
    torch.testing.assert_close(module.scene_head(torch.cat(features, 1)), before["logits"])


def test_maps_of_an_image_beside_its_sound_are_those_of_the_network(
    pairs: list[ScenePair], sounds: HeardSounds, teacher: EventTeacher
) -> None:
    task = task_of(pairs, sounds, teacher, loss="events")
    module, batch = task.module.eval(), a_batch(task)
    expected = module(batch)["logits"]
    for i in range(2):
        activations = class_activations(module.classifier_beside(batch["sound"][i]), batch["image"][i : i + 1])
        np.testing.assert_allclose(activations.logits[0], expected[i].detach(), atol=1e-4)
        np.testing.assert_allclose(
            activations.maps[0].mean((1, 2)) + activations.bias[0], expected[i].detach(), atol=1e-4
        )


def test_views_are_whole_images_by_their_seed() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 48, 3)).astype(np.uint8)
    view = pickle.loads(pickle.dumps(FlippedView(32)))
    assert view(image, 1).shape == (3, 32, 32)
    np.testing.assert_array_equal(view(image, 1), FlippedView(32)(image, 1))
    marked = np.full((48, 48, 3), 60, np.uint8)
    marked[:, 24:] = 180
    views = np.stack([view(marked, seed) for seed in range(50)]).astype(float)
    mirrored = views[..., :16].mean((1, 2, 3)) > views[..., 16:].mean((1, 2, 3))
    assert 15 <= mirrored.sum() <= 35
    assert views.mean((1, 2, 3)).std() > 3
    coloured = np.stack([view(np.full((48, 48, 3), (200, 100, 50), np.uint8), seed) for seed in range(50)]).astype(
        float
    )
    red, green, blue = coloured.mean((2, 3)).T
    assert (red / green).std() > 0.02
    assert (blue / green).std() > 0.02


@pytest.mark.parametrize(
    ("transfer", "sentence"),
    [
        ({"loss": "none", "with_scene_loss": False}, "transfer.loss none goes with the scene loss"),
        ({"loss": "events", "teacher": None}, "transfer.loss events needs transfer.teacher"),
        ({"loss": "sq-audio", "modality": "image"}, "modality image sets to zero; take sq-joint"),
        ({"alpha": -1.0}, r"transfer.alpha must be >= 0, got -1\.0"),
        ({"num_frames": 8}, "transfer.num_frames must be >= 32"),
        ({"loss": "none", "teacher": None, "num_events": 527}, "num_events is the teacher's, got 527"),
    ],
)
def test_settings_that_make_no_sense_are_refused(transfer: dict[str, Any], sentence: str) -> None:
    settings = TransferRunSettings(transfer=TransferSettings(**{"teacher": Path("t"), **transfer}))
    with pytest.raises(UserError, match=sentence):
        check_rules(settings)


def test_the_defaults_are_those_of_the_paper(tmp_path: Path) -> None:
    teacher = ["--transfer.loss", "kl-joint", "--transfer.teacher", "t"]
    settings = parse(["advance-transfer", "--root", str(tmp_path), "--out", "nowhere", *teacher]).settings
    assert isinstance(settings, TransferRunSettings)
    assert (settings.optimizer.name, settings.optimizer.learning_rate) == ("adam", 1e-5)
    assert settings.optimizer.weight_decay == 1e-4
    assert (settings.split, settings.num_seeds) == ("grouped", 5)
    transfer = settings.transfer
    assert (transfer.alpha, transfer.beta, transfer.num_frames, transfer.loss) == (0.1, 0.001, 400, "kl-joint")
    # A teacher for each student's seed.
    assert SoundEventSettings().num_seeds == settings.num_seeds
    # Other benchmarks keep theirs.
    assert defaults_of("ucmerced", "paper").optimizer.learning_rate == 1e-3
    with pytest.raises(UserError, match="protocol must be paper for advance-transfer, got tuned"):
        defaults_of("advance-transfer", "tuned")


def test_events_are_drawn_as_a_map(tmp_path: Path) -> None:
    distributions = np.random.default_rng(0).uniform(size=(12, 5)).astype(np.float32)
    labels = np.arange(12) % 3
    path = write_event_map(tmp_path, distributions, labels, sorted(SCENES), seed=0)
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    assert write_event_map(tmp_path, distributions[:3], labels[:3], sorted(SCENES), seed=0) is None
