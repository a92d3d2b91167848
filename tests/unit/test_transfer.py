"""Sound events for scenes: teachers that are read, networks of two trunks, tables of pairs, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from pair_folders import SCENES, write_advance
from torch import Tensor

from downstream.audiovisual_splits import grouped_split
from downstream.benchmarks.audiovisual_benchmark import ScenePair
from downstream.benchmarks.transfer import ADVANCE_TRANSFER
from downstream.class_activation import class_activations
from downstream.command_line import parse
from downstream.event_pictures import write_event_map
from downstream.event_tagger import EventTagger, EventTeacher, read_teacher, torchvision_state
from downstream.heard_sounds import MEL_BANDS, HeardSounds, event_answers, hear
from downstream.pair_batches import FlippedView, Heard
from downstream.protocols import defaults_of
from downstream.report import build_tables
from downstream.report_rows import find_runs, rows_of_runs
from downstream.results import Results
from downstream.settings import DownstreamSettings
from downstream.tasks.transfer_task import TransferRecognition
from downstream.transfer_settings import APPROACHES, TransferSettings, approach_of, check_transfer_settings
from pretrain.batches import next_batch, to_device
from pretrain.trunk_weights import load_trunk
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


def settings_of(**transfer: Any) -> DownstreamSettings:
    return DownstreamSettings(
        benchmark="advance-transfer",
        batch_size=4,
        image_size=32,
        workers=0,
        precision="fp32",
        transfer=TransferSettings(num_frames=FRAMES, teacher=Path("teacher"), **transfer),
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
        load_trunk("random", backbone="resnet18"),
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
    assert any((view(image, 1) != view(image, seed)).any() for seed in range(2, 6))


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
    settings = DownstreamSettings(transfer=TransferSettings(**{"teacher": Path("t"), **transfer}))
    with pytest.raises(UserError, match=sentence):
        check_transfer_settings(settings)


def test_the_defaults_are_those_of_the_paper() -> None:
    settings = parse(["advance-transfer", "--root", "r", "--out", "nowhere", "--transfer.loss", "kl-joint"]).settings
    assert (settings.optimizer.name, settings.optimizer.learning_rate) == ("adam", 1e-5)
    assert settings.optimizer.weight_decay == 1e-4
    assert (settings.split, settings.num_seeds) == ("grouped", 5)
    transfer = settings.transfer
    assert (transfer.alpha, transfer.beta, transfer.num_frames, transfer.loss) == (0.1, 0.001, 400, "kl-joint")
    # Other benchmarks and protocols keep theirs.
    assert defaults_of("ucmerced", "paper").optimizer.learning_rate == 1e-3
    assert defaults_of("advance-transfer", "tuned").protocol == "tuned"


def test_every_approach_has_its_place_in_tables() -> None:
    for loss in LOSSES:
        for with_scene_loss in (True, False):
            if loss != "none" or with_scene_loss:
                for beta in (0.0, 0.001):
                    transfer = TransferSettings(loss=loss, with_scene_loss=with_scene_loss, beta=beta)  # type: ignore[arg-type]
                    assert approach_of(DownstreamSettings(transfer=transfer)) in APPROACHES
    assert approach_of(DownstreamSettings(transfer=TransferSettings(loss="none"))) == "L_s†"
    assert approach_of(DownstreamSettings(weights="imagenet", transfer=TransferSettings(loss="none"))) == "L_s"


def test_events_are_drawn_as_a_map(tmp_path: Path) -> None:
    distributions = np.random.default_rng(0).uniform(size=(12, 5)).astype(np.float32)
    labels = np.arange(12) % 3
    path = write_event_map(tmp_path, distributions, labels, sorted(SCENES), seed=0)
    assert path is not None
    assert path.read_bytes().startswith(b"\x89PNG")
    assert write_event_map(tmp_path, distributions[:3], labels[:3], sorted(SCENES), seed=0) is None


def test_the_report_sets_approaches_beside_those_of_the_paper(tmp_path: Path) -> None:
    for name, approach, modality in (("a", "L_s + L_E", "both"), ("b", "L_s", "sound"), ("c", "L_E alone", "both")):
        entry = {f"{score}{end}": 0.5 for score in ("precision", "recall", "f1") for end in ("", "_sd")}
        Results(
            **{"benchmark": "advance-transfer", "weights": "random", "backbone": "resnet18", "protocol": "paper"},
            **{"num_train": 8, "num_test": 2, "seconds": 1.0, "head_on": "trunk", "seed": 0, "split": "grouped"},
            train_fraction=0.8,
            epochs=[{"epoch": 3, **entry}],
            details={"approach": approach, "modality": modality, "sound_weights": "random resnet18", "num_seeds": 3},
        ).write(tmp_path / name)
    (table,) = build_tables(rows_of_runs(find_runs([tmp_path])))
    assert table.kind == "transfer"
    measured = [(row.modality, row.approach) for row in table.rows if row.origin == "measured"]
    assert measured == [("sound", "L_s"), ("both", "L_s + L_E"), ("both", "L_E alone")]
    places = [(row.modality, APPROACHES.index(row.approach)) for row in table.rows]
    assert places == sorted(places, key=lambda place: (["sound", "image", "both"].index(place[0]), place[1]))
    published = {(row.modality, row.approach): row.figures for row in table.rows if row.origin == "published"}
    assert published["image", "L_s + L_E"]["f1"].mean == 73.44
    assert published["both", "L_E alone"]["precision"].sd == 1.14
    assert published["sound", "L_s + L_SQ (N_v+a)"]["recall"].mean == 34.68
    assert list(published["both", "L_s"]) == ["f1"]
