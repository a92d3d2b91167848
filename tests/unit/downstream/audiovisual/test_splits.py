"""How pairs of image and sound are found and divided: ADVANCE's layout, its real names, and what leaks."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from sklearn.model_selection import train_test_split

from downstream.audiovisual.advance import ADVANCE, PAIRS_OF_CLASS, location_of
from downstream.audiovisual.benchmark import ScenePair
from downstream.audiovisual.splits import (
    SPLIT_SEEDS,
    PairSplit,
    describe_leak,
    grouped_split,
    leaks,
    shared_locations,
    stratified_split,
)
from shards.errors import UserError


@pytest.fixture(scope="module")
def advance_pairs(real_data: Path) -> list[ScenePair]:
    """The 5,075 real names, without their files."""
    stems = json.loads((real_data / "advance_stems.json").read_text(encoding="utf-8"))
    classes = sorted(stems)
    return [
        ScenePair(f"{name}/{stem}", Path(), Path(), classes.index(name), location_of(stem))
        for name in classes
        for stem in stems[name]
    ]


def parts(split: PairSplit) -> list[list[ScenePair]]:
    return [split.train, split.val, split.test]


def test_the_published_counts_are_those_of_the_real_names(advance_pairs: list[ScenePair]) -> None:
    classes = sorted(PAIRS_OF_CLASS)
    assert Counter(classes[pair.label] for pair in advance_pairs) == PAIRS_OF_CLASS
    assert sum(PAIRS_OF_CLASS.values()) == 5075
    assert len({pair.location for pair in advance_pairs}) == 2696


def test_stratified_leaks_on_the_real_names_and_grouped_does_not(advance_pairs: list[ScenePair]) -> None:
    found = leaks(advance_pairs)
    stratified, grouped = found["stratified"], found["grouped"]
    assert stratified is not None
    assert grouped is not None
    # More than half of the test clips have a sibling of the same recording in training.
    assert stratified == {"num_test": [1015] * 5, "num_shared": [587, 584, 587, 587, 581]}
    assert grouped["num_shared"] == [0] * 5
    print(describe_leak("stratified", stratified), describe_leak("grouped", grouped), sep="\n")
    assert describe_leak("stratified", stratified).startswith("split stratified: 585.2 of 1015 test clips (57.7%)")


@pytest.mark.parametrize("split", [stratified_split, grouped_split])
def test_every_pair_has_one_use_in_the_right_shares(split, advance_pairs: list[ScenePair]) -> None:
    for seed in SPLIT_SEEDS:
        drawn = split(advance_pairs, seed)
        keys = [pair.key for part in parts(drawn) for pair in part]
        assert sorted(keys) == sorted(pair.key for pair in advance_pairs)
        for part, share in zip(parts(drawn), (0.7, 0.1, 0.2), strict=True):
            assert len(part) / len(advance_pairs) == pytest.approx(share, abs=0.005)
            counts = Counter(pair.label for pair in part)
            for label, whole in Counter(pair.label for pair in advance_pairs).items():
                assert counts[label] / whole == pytest.approx(share, abs=0.035)


def test_stratified_is_the_authors_split(advance_pairs: list[ScenePair]) -> None:
    """Against their two calls of scikit-learn, on keys in the order of sorted paths."""
    paths = sorted(Path("vision") / f"{pair.key}.jpg" for pair in advance_pairs)
    keys = [f"{path.parent.name}/{path.stem}" for path in paths]
    labels = [path.parent.name for path in paths]
    key_rest, key_test, label_rest, _ = train_test_split(keys, labels, stratify=labels, test_size=0.2, random_state=42)
    assert tuple(42 * i for i in range(5)) == SPLIT_SEEDS
    for seed in SPLIT_SEEDS:
        train, val = train_test_split(key_rest, stratify=label_rest, test_size=0.1 / 0.8, random_state=seed)
        drawn = parts(stratified_split(advance_pairs, seed))
        assert [[pair.key for pair in part] for part in drawn] == [sorted(train), sorted(val), sorted(key_test)]


def test_grouped_keeps_locations_apart_between_all_parts(advance_pairs: list[ScenePair]) -> None:
    for seed in SPLIT_SEEDS:
        places = [{pair.location for pair in part} for part in parts(grouped_split(advance_pairs, seed))]
        assert not places[0] & places[1]
        assert not places[0] & places[2]
        assert not places[1] & places[2]


def test_what_is_redrawn_by_the_seed(advance_pairs: list[ScenePair]) -> None:
    stratified = [stratified_split(advance_pairs, seed) for seed in (0, 42)]
    grouped = [grouped_split(advance_pairs, seed) for seed in (0, 42)]
    assert stratified[0].test == stratified[1].test
    assert stratified[0].train != stratified[1].train
    assert grouped[0].test != grouped[1].test
    # The order of the list has no influence.
    assert grouped_split(advance_pairs[::-1], 0) == grouped[0]
    assert stratified_split(advance_pairs[::-1], 0) == stratified[0]


def test_shared_locations_are_counted_by_clip() -> None:
    def pair(key: str, location: str) -> ScenePair:
        return ScenePair(key, Path(), Path(), 0, location)

    split = PairSplit(
        [pair("a", "1"), pair("b", "2")], [pair("c", "3")], [pair("d", "1"), pair("e", "1"), pair("f", "3")]
    )
    shared = shared_locations(split)
    assert (shared.num_test, shared.num_shared) == (3, 2)


def test_classes_too_small_to_split_are_named() -> None:
    few = [ScenePair(f"{label}/{i}", Path(), Path(), label, f"{label}-{i // 3}") for label in (0, 1) for i in range(6)]
    with pytest.raises(UserError, match=r"0/0 has 6 pairs, but a 70/10/20 % split needs at least 10"):
        stratified_split(few, 0)
    with pytest.raises(UserError, match="needs 3 locations of each class, but the class of 0/0 has 2"):
        grouped_split(few, 0)
    assert leaks(few) == {"stratified": None, "grouped": None}


def make_advance(root: Path, *, classes: tuple[str, ...] = ("beach", "sports land"), clips: int = 3) -> Path:
    for number, name in enumerate(classes):
        for folder, suffix in (("vision", "jpg"), ("sound", "wav")):
            (root / folder / name).mkdir(parents=True)
            for clip in range(clips):
                stem = f"{number:05d}" + (f"_{clip}" if clip else "")
                (root / folder / name / f"{stem}.{suffix}").touch()
    return root


def test_official_layout_is_read_with_spaces_and_locations(tmp_path: Path) -> None:
    data = ADVANCE.load(make_advance(tmp_path), allow_partial=True)
    assert [pair.key for pair in data.pairs][:2] == ["beach/00000", "beach/00000_1"]
    assert data.classes[data.pairs[-1].label] == "sports land"
    assert {pair.location for pair in data.pairs} == {"00000", "00001"}
    assert data.missing == [
        "6 of 5075 pairs; airport has 0 of 185, beach has 3 of 216, bridge has 0 of 280, farmland has 0 of 430, "
        "forest has 0 of 862 and 8 more classes"
    ]


def test_what_is_wrong_with_a_root_is_said(tmp_path: Path) -> None:
    root = make_advance(tmp_path / "root")
    with pytest.raises(UserError, match=r"not a complete copy of ADVANCE: 6 of 5075 pairs;.*--allow-partial"):
        ADVANCE.load(root, allow_partial=False)
    (root / "sound" / "beach" / "00000_2.wav").unlink()
    (root / "vision" / "sports land" / "00001.jpg").unlink()
    with pytest.raises(UserError, match="1 image without sound: beach/00000_2;"):
        ADVANCE.load(root, allow_partial=False)
    missing = ADVANCE.load(root, allow_partial=True).missing
    assert missing[:2] == ["1 image without sound: beach/00000_2", "1 sound without image: sports land/00001"]
    with pytest.raises(UserError, match="is not a folder; give the folder with ADVANCE"):
        ADVANCE.load(tmp_path / "nowhere", allow_partial=True)
    with pytest.raises(UserError, match="vision is not a folder"):
        ADVANCE.load(root / "vision", allow_partial=True)


def test_unknown_classes_and_names_are_always_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'sports_land', which is not a class of ADVANCE"):
        ADVANCE.load(make_advance(tmp_path / "a", classes=("beach", "sports_land")), allow_partial=True)
    root = make_advance(tmp_path / "b")
    for folder, suffix in (("vision", "jpg"), ("sound", "wav")):
        (root / folder / "beach" / f"copy.{suffix}").touch()
    with pytest.raises(UserError, match="'copy' is not a file name of ADVANCE"):
        ADVANCE.load(root, allow_partial=True)
