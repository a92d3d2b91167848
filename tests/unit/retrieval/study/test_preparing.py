"""`study prepare`: the same bytes for a seed, media that tell nothing, and the mistakes it refuses."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from listening_shards import write_listening_shards, write_tiny_towers
from shard_commands import files_of

from pretrain.training.embedding import PairEmbeddings
from retrieval.embedding import EmbeddedSplit
from retrieval.study.answers import Answers
from retrieval.study.audible import AudiblePairs, audible_numbers
from retrieval.study.folder import Study, at_work_in
from retrieval.study.options import PrepareOptions
from retrieval.study.preparing import prepare
from shards.errors import UserError
from shards.streaming.reading import ShardSet


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> PrepareOptions:
    folder = tmp_path_factory.mktemp("prepared")
    shards = write_listening_shards(folder / "shards", {"train": 4, "test": 16})
    return PrepareOptions(write_tiny_towers(folder / "model"), shards, folder / "study", pairs=6, crops=1, device="cpu")


@pytest.fixture(scope="module")
def study(options: PrepareOptions) -> Study:
    return prepare(options)


def test_the_folder_holds_what_study_json_names(options: PrepareOptions, study: Study) -> None:
    assert Study.load(options.out) == study
    assert sorted(pair.kind for pair in study.pairs) == ["retrieved"] * 3 + ["true"] * 3
    assert study.gallery_size == 16
    shard_set = ShardSet.open(options.shards)
    stored = {sample.key: sample for sample in shard_set.samples("test")}
    for pair in study.pairs:
        assert (pair.image.key == pair.sound.key) == (pair.kind == "true")
        assert (options.out / "media" / pair.clip).read_bytes() == stored[pair.sound.key].preview()
        shown = cv2.imread(str(options.out / "media" / pair.picture))[..., ::-1].astype(float)
        assert np.abs(shown - stored[pair.image.key].image()).mean() < 8
        assert pair.sound.title == stored[pair.sound.key].metadata()["title"]
        assert pair.image.licence_url == stored[pair.image.key].metadata()["licence"]
    assert len({pair.image.key for pair in study.pairs}) == 6


def test_names_of_media_tell_nothing(options: PrepareOptions, study: Study) -> None:
    assert sorted(path.name for path in (options.out / "media").iterdir()) == sorted(
        f"{number}.{kind}" for number in range(1, 7) for kind in ("jpg", "mp3")
    )
    assert [pair.id for pair in study.pairs] == ["1", "2", "3", "4", "5", "6"]
    assert all(re.fullmatch(r"\d\.jpg", pair.picture) for pair in study.pairs)


def test_a_seed_gives_the_same_bytes(options: PrepareOptions, study: Study, tmp_path: Path) -> None:
    prepare(dataclasses.replace(options, out=tmp_path / "again"))
    assert files_of(tmp_path / "again") == files_of(options.out)
    other = prepare(dataclasses.replace(options, out=tmp_path / "other", seed=1))
    assert [pair.image.key for pair in other.pairs] != [pair.image.key for pair in study.pairs]


def test_a_study_with_raters_stays(options: PrepareOptions, tmp_path: Path) -> None:
    options = dataclasses.replace(options, out=tmp_path / "taken")
    study = prepare(options)
    answers = Answers(options.out / "answers.sqlite", study.identity)
    # Nobody has agreed yet: it may be drawn again, and answers to the first draw are not expected any more.
    study = prepare(dataclasses.replace(options, seed=5, pairs=4))
    assert len(list((options.out / "media").iterdir())) == 8
    answers = Answers(options.out / "answers.sqlite", study.identity)
    answers.add_rater()
    before = files_of(options.out / "media")
    with pytest.raises(UserError, match=r"already has raters \(1\); give another folder"):
        prepare(options)
    assert files_of(options.out / "media") == before
    assert Study.load(options.out) == study


@pytest.mark.parametrize(
    "name", ["media/holiday.jpg", "study.json", "answers.sqlite", "media/.hidden", "study.json/nested"]
)
def test_files_of_others_stay(options: PrepareOptions, tmp_path: Path, name: str) -> None:
    stranger = tmp_path / name
    stranger.parent.mkdir(parents=True, exist_ok=True)
    stranger.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"does not belong to a study that this command can replace; give another folder"
    ):
        prepare(dataclasses.replace(options, out=tmp_path))
    assert stranger.is_file()


def test_of_an_earlier_study_only_its_own_files_go(options: PrepareOptions, tmp_path: Path) -> None:
    options = dataclasses.replace(options, out=tmp_path)
    prepare(options)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "answers.sqlite.backup").write_text("mine too")
    prepare(dataclasses.replace(options, pairs=4))
    kept = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.iterdir())
    assert kept == [".lock", "answers.sqlite.backup", "media", "notes.txt", "study.json"]
    assert len(list((tmp_path / "media").iterdir())) == 8
    (tmp_path / "media" / "5.jpg").write_text("a stranger's")
    with pytest.raises(UserError, match=r"media/5\.jpg does not belong to a study"):
        prepare(options)
    assert (tmp_path / "media" / "5.jpg").read_text() == "a stranger's"


def test_an_interrupted_preparation_leaves_nothing_in_the_way(
    options: PrepareOptions, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(options, out=tmp_path)
    clips = []

    def interrupt_at_the_third(pairs: AudiblePairs, number: int) -> bytes:
        clips.append(number)
        if len(clips) == 3:
            raise KeyboardInterrupt
        return clip_of(pairs, number)

    clip_of = AudiblePairs.clip
    prepare(dataclasses.replace(options, seed=1))
    before = files_of(tmp_path / "media")
    with monkeypatch.context() as patch:
        patch.setattr(AudiblePairs, "clip", interrupt_at_the_third)
        patch.setattr(AudiblePairs, "is_same_place", lambda *_: False)
        with pytest.raises(KeyboardInterrupt):
            prepare(options)
    assert files_of(tmp_path / "media") == before
    Study.load(tmp_path).check_media(tmp_path)
    assert prepare(options).pairs == study.pairs
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "media", "study.json"]


def test_a_linked_folder_of_media_is_left_alone(options: PrepareOptions, study: Study, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(options.out, out)
    (out / "media").rename(tmp_path / "elsewhere")
    (out / "media").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"study\.json does not belong to a study that this command can replace"):
        prepare(dataclasses.replace(options, out=out))
    assert len(list((tmp_path / "elsewhere").iterdir())) == 12


def test_an_earlier_study_stays_where_the_draw_fails(
    options: PrepareOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(options, out=tmp_path)
    study = prepare(options)
    before = files_of(tmp_path)
    monkeypatch.setattr(AudiblePairs, "is_same_place", lambda *_: True)
    with pytest.raises(UserError, match="pairs 6 can't be drawn"):
        prepare(dataclasses.replace(options, seed=1))
    assert files_of(tmp_path) == before
    assert Study.load(tmp_path) == study


def test_media_are_checked_against_what_was_prepared(options: PrepareOptions, study: Study, tmp_path: Path) -> None:
    folder = shutil.copytree(options.out, tmp_path / "copy")
    study.check_media(folder)
    for name in ("2.jpg", "3.mp3"):
        path = folder / "media" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(UserError, match=rf"media/{name} has changed: its SHA-256 is \w{{12}}…, but .*restore"):
            study.check_media(folder)
        path.unlink()
        with pytest.raises(UserError, match=rf"media/{name} can't be read \(No such file.*restore"):
            study.check_media(folder)
        path.write_bytes(content)


def test_a_study_that_is_served_stays(options: PrepareOptions, study: Study) -> None:
    with at_work_in(options.out, alone=False), pytest.raises(UserError, match="the study in it is being served"):
        prepare(options)
    assert Study.load(options.out) == study


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"pairs": 5}, "pairs must be even and >= 2, got 5"),
        ({"pairs": 0}, "pairs must be even and >= 2, got 0"),
        (
            {"pairs": 18},
            "pairs must be at most 16, the pairs with a listening clip in split test of .*, got 18; lower",
        ),
        ({"crops": 0}, "crops must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
        ({"split": "val"}, "split val of .* holds no pairs"),
    ],
)
def test_mistakes_get_a_sentence(
    options: PrepareOptions, tmp_path: Path, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        prepare(dataclasses.replace(options, out=tmp_path / "out", **changes))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_what_can_t_be_heard_can_t_be_asked_about(options: PrepareOptions, tmp_path: Path) -> None:
    silent = shutil.copytree(options.shards, tmp_path / "silent", ignore=shutil.ignore_patterns("previews"))
    with pytest.raises(UserError, match="has no listening clips; build the shards from recordings"):
        prepare(dataclasses.replace(options, shards=silent, out=tmp_path / "out"))


def test_a_sound_of_the_same_place_or_recording_is_no_find(options: PrepareOptions) -> None:
    shard_set = ShardSet.open(options.shards)
    numbers = audible_numbers(shard_set, "test")
    assert numbers == list(range(16))
    rows = np.zeros((16, 2), np.float32)
    metadata = [{"latitude": 60.0, "longitude": 0.01 * number} for number in range(14)] + [{}, {}]
    # At 60° north 0.01° is 556 m; 0.004° are 222 m.
    metadata[1]["longitude"] = 0.004
    embedded = EmbeddedSplit(PairEmbeddings([str(n) for n in numbers], rows, rows), metadata, {})
    audible = AudiblePairs.of(shard_set, "test", numbers, embedded)
    assert audible.is_same_place(0, 1)
    assert not audible.is_same_place(0, 2)
    assert not audible.is_same_place(14, 15)
    audible.samples[13] = audible.samples[14]
    assert audible.is_same_place(13, 14)


def test_a_broken_study_gets_a_sentence(options: PrepareOptions, study: Study, tmp_path: Path) -> None:
    record = json.loads((options.out / "study.json").read_text())
    for changed, sentence in [
        (record | {"format_version": 1}, "format_version is 1, this Earshot reads 2; prepare another study"),
        (record | {"pairs": [record["pairs"][0] | {"clip": "../study.json"}]}, r"pairs\.0\.clip: string should match"),
        ([], r"study\.json: input should be a valid dictionary, got \[\]; make one with"),
    ]:
        (tmp_path / "study.json").write_text(json.dumps(changed))
        with pytest.raises(UserError, match=sentence):
            Study.load(tmp_path)
    with pytest.raises(UserError, match="make one with"):
        Study.load(tmp_path / "nowhere")
