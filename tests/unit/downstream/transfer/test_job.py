"""Before advance-transfer trains: teachers that know the test sounds or hear otherwise, parts without a scene."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from pair_folders import write_table

from downstream.audiovisual.benchmark import AudiovisualData
from downstream.transfer.benchmark import ADVANCE_TRANSFER, SOUND_EVENTS
from downstream.transfer.event_tagger import HEARD_NAME, read_teacher
from downstream.transfer.event_tagging import SoundEventTagging
from downstream.transfer.heard_sounds import MEL_BANDS, HeardSounds, hear
from downstream.transfer.job import TransferJob, band_statistics, check_seeds, resolved
from downstream.transfer.kind import SoundEventSettings, TransferRunSettings
from downstream.transfer.settings import HearingSettings, TransferSettings
from downstream.transfer.sound_events import split_events
from pretrain.preemption import PreemptionWatch
from pretrain.training.task import Evaluation
from shards.errors import UserError

FRAMES = 32
TWO_SEEDS = TransferRunSettings(benchmark="advance-transfer", split="grouped", batch_size=4, num_seeds=2)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("table") / "root", recordings=4, clips=1)


@pytest.fixture(scope="module")
def data(table: Path) -> AudiovisualData:
    return ADVANCE_TRANSFER.load(table, TransferSettings(), allow_partial=False)


def teach(root: Path, out: Path, *, seed: int = 0, stride: Any = 1) -> SoundEventTagging:
    """Writes an untrained tagger of a seed's split, as sound-events writes a trained one."""
    data = SOUND_EVENTS.load(root, TransferSettings(), allow_partial=False)
    sounds, _ = hear([(item.key, item.path) for item in data.items], FRAMES, threads=1, max_corrupt=0)
    hearing = HearingSettings(num_frames=FRAMES, sound_stride=stride)
    of_task: Any = {"backbone": "resnet18", "seed": seed, "transfer": hearing}
    settings = SoundEventSettings(benchmark="sound-events", split="grouped", batch_size=4, num_seeds=2, **of_task)
    split = split_events(data, sounds.row, "grouped", seed)
    task = SoundEventTagging(settings, Accelerator(cpu=True), sounds, data.classes, split)
    task.write_model(out / f"seed-{seed}", task.module, Evaluation("val", {}, 0.0, ""), step=1, epoch=1)
    return task


def taught_by(teacher: Path, **transfer: Any) -> TransferRunSettings:
    return replace(TWO_SEEDS, transfer=TransferSettings(num_frames=FRAMES, teacher=teacher, **transfer))


def test_a_teacher_that_learned_from_test_sounds_is_refused(table: Path, data: AudiovisualData, tmp_path: Path) -> None:
    teach(table, tmp_path / "out")
    settings = resolved(taught_by(tmp_path / "out"))
    # The one teacher is that of seed 0, whose training part holds sounds that test the pupil of seed 1.
    with pytest.raises(UserError, match=r"learned from \d of the \d test sounds of seed 1, such as .*--num-seeds 2"):
        check_seeds(settings, data.pairs)
    (sentence,) = check_seeds(replace(settings, force=True), data.pairs)
    assert "test sounds of seed 1" in sentence
    assert check_seeds(replace(settings, num_seeds=1), data.pairs) == []
    teach(table, tmp_path / "out", seed=1)
    assert check_seeds(settings, data.pairs) == []


def test_sounds_are_known_by_their_bytes_under_any_name(table: Path, data: AudiovisualData, tmp_path: Path) -> None:
    for number, pair in enumerate(data.pairs):
        copy = tmp_path / "classes" / f"event {number % 2}" / f"{number}.wav"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pair.sound, copy)
    teach(tmp_path / "classes", tmp_path / "out")
    settings = resolved(taught_by(tmp_path / "out"))
    with pytest.raises(UserError, match="learned from"):
        check_seeds(settings, data.pairs)
    known = read_teacher(tmp_path / "out").trained_on
    assert len(known) == 10
    (tmp_path / "out" / "seed-0" / "model" / HEARD_NAME).write_text("event 0/0.wav\n")
    with pytest.raises(UserError, match=r"trained_on\.txt must begin each line with the SHA-256 of a sound"):
        check_seeds(settings, data.pairs)


def test_a_teacher_hears_with_its_own_stride_and_statistics(table: Path, data: AudiovisualData, tmp_path: Path) -> None:
    task = teach(table, tmp_path / "out")
    settings = replace(resolved(taught_by(tmp_path / "out")), num_seeds=1)
    assert settings.transfer.sound_stride == 1
    teacher = read_teacher(tmp_path / "out")
    split = job_of(settings, data).split(0)
    nothing_heard = HeardSounds({}, torch.zeros((0, FRAMES, MEL_BANDS), dtype=torch.uint8).numpy())
    own = (task.module.input.mean, task.module.input.std)
    torch.testing.assert_close(band_statistics(teacher, nothing_heard, split), own)
    heard = {"sound": torch.randint(0, 255, (2, FRAMES, MEL_BANDS)).to(torch.uint8)}
    network = teacher.tagger(*own, stride=settings.transfer.sound_stride)
    torch.testing.assert_close(network(heard)["events"], task.module.eval()(heard)["events"])
    with pytest.raises(UserError, match="sound_stride must be 0 or the teacher's, 1, got 2"):
        check_seeds(replace(resolved(taught_by(tmp_path / "out", sound_stride=2)), num_seeds=1), data.pairs)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ({"stride": 3}, "stride must be 1 or 2"),
        ({"band_mean": [0.0], "band_std": [1.0]}, "band_mean and band_std of 64 numbers each"),
        ({"band_mean": [0.0] * MEL_BANDS}, "can't be read as a tagger's"),
        ({"band_mean": "loud", "band_std": "soft"}, "can't be read as a tagger's"),
        ([], "can't be read as a tagger's"),
    ],
)
def test_a_teacher_that_hears_in_no_way_is_refused(record: object, sentence: str, table: Path, tmp_path: Path) -> None:
    teach(table, tmp_path / "out")
    (tmp_path / "out" / "seed-0" / "model" / "config.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        read_teacher(tmp_path / "out")


def test_what_no_teacher_names_is_as_published(data: AudiovisualData) -> None:
    settings = resolved(TWO_SEEDS)
    assert (settings.image_size, settings.backbone, settings.transfer.sound_stride) == (256, "resnet101", 2)
    assert resolved(replace(TWO_SEEDS, transfer=TransferSettings(sound_stride=1))).transfer.sound_stride == 1
    assert check_seeds(settings, data.pairs) == []


def job_of(settings: TransferRunSettings, data: AudiovisualData, *unusable: str) -> TransferJob:
    usable = frozenset(pair.key for pair in data.pairs) - set(unusable)
    sounds = HeardSounds({}, torch.zeros((0, FRAMES, MEL_BANDS), dtype=torch.uint8).numpy())
    rest = (Accelerator(cpu=True), PreemptionWatch(), data.classes, data.pairs, usable, sounds)
    return TransferJob(settings, *rest, notes=[])


@pytest.mark.parametrize(("name", "part"), [("train", "training"), ("val", "validation"), ("test", "test")])
def test_a_part_without_a_scene_is_refused(name: str, part: str, data: AudiovisualData) -> None:
    whole = job_of(TWO_SEEDS, data).split(0)
    lost = [pair.key for pair in getattr(whole, name) if data.classes[pair.label] == "forest"]
    with pytest.raises(UserError, match=f"the {part} split of seed 0 has no usable pair of forest"):
        job_of(TWO_SEEDS, data, *lost).split(0)
