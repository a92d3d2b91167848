"""Teachers of sound events and what they are taught on: files that are read, sounds heard, tables and folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import torchvision
from pair_folders import SCENES, write_advance, write_events, write_table

from downstream.audiovisual.advance import location_of
from downstream.audiovisual.benchmark import ScenePair
from downstream.audiovisual.splits import grouped_split
from downstream.transfer.benchmark import ADVANCE_TRANSFER, SOUND_EVENTS
from downstream.transfer.event_tagger import read_teacher
from downstream.transfer.heard_sounds import MEL_BANDS, HeardSounds, hear
from downstream.transfer.settings import TransferSettings
from downstream.transfer.sound_events import split_events
from shards.errors import UserError

FRAMES = 32
NUM_EVENTS = 4


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


def test_bands_are_normalised_over_the_training_part(sounds: HeardSounds) -> None:
    keys = list(sounds.row)[:10]
    mean, std = sounds.statistics(keys)
    own = sounds.tensor(keys).numpy().astype(np.float64)
    np.testing.assert_allclose(mean, own.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(std, np.maximum(own.std((0, 1)), 1), rtol=1e-5)
    # The tones of the classes differ in where they are loud.
    loudest = {key.split("/")[0]: sounds.spectrograms[row].mean(0).argmax() for key, row in sounds.row.items()}
    assert loudest["beach"] < loudest["forest"] < loudest["harbour"]


def test_ten_seconds_give_400_frames_and_none_twice(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, 160_000)
    # A click in the middle of frame 250, counted from 0.
    noise[250 * 400] = 1.0
    soundfile.write(tmp_path / "noise.wav", noise, 16_000, subtype="FLOAT")
    heard, faults = hear([("noise", tmp_path / "noise.wav")], 400, threads=1, max_corrupt=0)
    assert faults == []
    frames = heard.spectrograms[0]
    assert frames.shape == (400, MEL_BANDS)
    assert len({frame.tobytes() for frame in frames}) == 400
    assert frames.astype(float).mean(1).argmax() == 250


def test_undecodable_sounds_are_named_and_counted(tmp_path: Path, pairs: list[ScenePair]) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    listed = [("bad", tmp_path / "bad.wav"), *((pair.key, pair.sound) for pair in pairs[:3])]
    heard, faults = hear(listed, FRAMES, threads=1, max_corrupt=0.5)
    assert list(heard.row) == [pair.key for pair in pairs[:3]]
    assert faults[0].startswith("bad: undecodable sound")
    with pytest.raises(UserError, match=r"1 of 4 sounds can't be used, more than max_corrupt 0\.1; the first: bad:"):
        hear(listed, FRAMES, threads=1, max_corrupt=0.1)


def test_a_file_of_torchvision_with_three_channels_hears_as_if_all_were_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=NUM_EVENTS).eval()
    torch.save({"model": {f"module.{name}": value for name, value in network.state_dict().items()}}, tmp_path / "t.pth")
    found = read_teacher(tmp_path / "t.pth", num_events=NUM_EVENTS)
    assert (found.backbone, found.num_events) == ("resnet18", NUM_EVENTS)
    tagger = found.tagger(torch.full((MEL_BANDS,), 100.0), torch.full((MEL_BANDS,), 30.0), stride=2)
    sound = torch.randint(0, 255, (2, FRAMES, MEL_BANDS)).to(torch.uint8)
    grey = ((sound.float() - 100) / 30)[:, None].expand(-1, 3, -1, -1)
    torch.testing.assert_close(tagger({"sound": sound})["events"], network(grey), atol=1e-4, rtol=1e-4)
    assert found.tagger(torch.zeros(1), torch.ones(1), stride=1).trunk.conv1.stride == (1, 1)


def test_teachers_that_are_none_are_refused(tmp_path: Path) -> None:
    def refusal(state: object, **more: Any) -> str:
        torch.save(state, tmp_path / "t.pth")
        with pytest.raises(UserError) as caught:
            read_teacher(tmp_path / "t.pth", **more)
        return str(caught.value)

    whole = torchvision.models.resnet18(num_classes=NUM_EVENTS).state_dict()
    assert "has 4; omit it, or give 0" in refusal(whole, num_events=527)
    assert "lacks layer1.0.bn1.bias" in refusal({k: v for k, v in whole.items() if k != "layer1.0.bn1.bias"})
    assert "has no classifier fc.weight" in refusal({k: v for k, v in whole.items() if not k.startswith("fc")})
    four = {**whole, "conv1.weight": torch.zeros(64, 4, 7, 7)}
    assert "conv1.weight has the shape (64, 4, 7, 7), in a resnet18 that hears it is (64, 1, 7, 7)" in refusal(four)
    wide = {**whole, "fc.weight": torch.zeros(NUM_EVENTS, 2048)}
    assert "fc.weight has the shape (4, 2048), in a resnet18 that hears it is (4, 512)" in refusal(wide)
    assert "must hold one ResNet" in refusal({"weight": torch.zeros(3)})
    assert "can't be read as weights" in refusal({"model": Path("a path is more than tensors")})
    with pytest.raises(UserError, match=r"no teacher at .*nowhere: no such file or folder"):
        read_teacher(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"a folder without model/model\.safetensors"):
        read_teacher(tmp_path)


def test_parts_of_the_real_names_share_no_coordinate(real_data: Path) -> None:
    stems = json.loads((real_data / "advance_stems.json").read_text(encoding="utf-8"))
    classes = sorted(stems)
    named = [
        ScenePair(f"{name}/{stem}", Path(), Path(), classes.index(name), location_of(stem))
        for name in classes
        for stem in stems[name]
    ]
    assert len(named) == 5075
    for seed in range(5):
        split = grouped_split(named, seed)
        parts = (split.train, split.val, split.test)
        places = [{pair.location for pair in part} for part in parts]
        assert not places[0] & places[1] | places[0] & places[2] | places[1] & places[2]
        assert sum(map(len, parts)) == 5075
        assert [len(part) / 5075 for part in parts] == pytest.approx([0.7, 0.1, 0.2], abs=0.005)


def test_a_table_gives_pairs_by_scene_and_recording(tmp_path: Path) -> None:
    root = write_table(tmp_path / "table", recordings=3, clips=2)
    data = ADVANCE_TRANSFER.load(root, TransferSettings(), allow_partial=False)
    assert data.classes == sorted(SCENES)
    assert len(data.pairs) == 18
    assert {pair.location for pair in data.pairs} == {f"{name}-{i}" for name in SCENES for i in range(3)}
    (root / "audio" / "1000.wav").unlink()
    with pytest.raises(UserError, match="of 1000 there is no sound; --allow-partial"):
        ADVANCE_TRANSFER.load(root, TransferSettings(), allow_partial=False)
    assert len(ADVANCE_TRANSFER.load(root, TransferSettings(), allow_partial=True).pairs) == 17
    with pytest.raises(UserError, match="no column 'place'"):
        ADVANCE_TRANSFER.load(root, TransferSettings(group_column="place"), allow_partial=True)


def test_only_classes_that_are_there_are_learned(advance: Path) -> None:
    data = ADVANCE_TRANSFER.load(advance, TransferSettings(), allow_partial=True)
    assert data.classes == sorted(SCENES)
    assert {pair.key.split("/")[0]: pair.label for pair in data.pairs} == {n: i for i, n in enumerate(sorted(SCENES))}
    with pytest.raises(UserError, match="24 of 5075 pairs"):
        ADVANCE_TRANSFER.load(advance, TransferSettings(), allow_partial=False)


def test_a_teacher_never_hears_what_its_pupil_is_tested_on(tmp_path: Path) -> None:
    root = write_table(tmp_path / "table", recordings=5)
    transfer = TransferSettings()
    events = SOUND_EVENTS.load(root, transfer, allow_partial=False)
    assert events.classes == ["high", "low"]
    heard = {item.key: 0 for item in events.items}
    pairs = ADVANCE_TRANSFER.load(root, transfer, allow_partial=False).pairs
    for seed in range(3):
        taught, tested = split_events(events, heard, "grouped", seed), grouped_split(pairs, seed).test
        learned_from = {item.path for item in (*taught.train, *taught.val)}
        assert learned_from
        assert not learned_from & {pair.sound for pair in tested}
        assert {item.path for item in taught.test} == {pair.sound for pair in tested}


def test_a_folder_of_classes_gives_sounds(tmp_path: Path) -> None:
    root = write_events(tmp_path / "events", sounds=10)
    data = SOUND_EVENTS.load(root, TransferSettings(), allow_partial=False)
    assert data.classes == ["high", "low", "middle"]
    split = split_events(data, {item.key: 0 for item in data.items}, "grouped", 0)
    assert [len(part) for part in (split.train, split.val, split.test)] == [24, 3, 3]
    (tmp_path / "empty" / "a").mkdir(parents=True)
    with pytest.raises(UserError, match="has sounds of 0 classes, a tagger needs 2 or more"):
        SOUND_EVENTS.load(tmp_path / "empty", TransferSettings(), allow_partial=False)
    with pytest.raises(UserError, match="is not a folder"):
        SOUND_EVENTS.load(tmp_path / "nowhere", TransferSettings(), allow_partial=False)
