"""Land-cover data sets on disk: pairs, what is missing from them, and which tiles validate."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from downstream.benchmarks import BENCHMARKS
from downstream.command_line import parse
from downstream.landcover.benchmark import LandCoverBenchmark
from downstream.landcover.deepglobe import DEEPGLOBE, DEEPGLOBE_CLASSES
from downstream.landcover.demo_landcover import DEMO_LANDCOVER
from downstream.landcover.kind import LandCoverSettings
from downstream.landcover.running import resolved
from shards.building.splitting import split_by_key
from shards.demo_world.canvas import PALETTE
from shards.errors import UserError

ANY_NUMBER = replace(DEEPGLOBE, num_tiles=0)


def make_pairs(folder: Path, *ids: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for key in ids:
        (folder / f"{key}_sat.jpg").touch()
        (folder / f"{key}_mask.png").touch()


def refusal(benchmark: LandCoverBenchmark, root: Path) -> str:
    with pytest.raises(UserError) as caught:
        benchmark.load(root, allow_partial=False)
    return str(caught.value)


@pytest.mark.parametrize("place", ["train", ""])
def test_pairs_are_found_in_the_root_and_in_its_folder_train(tmp_path: Path, place: str) -> None:
    make_pairs(tmp_path / place, "20", "9", "100")
    (tmp_path / place / "notes.txt").touch()
    data = ANY_NUMBER.load(tmp_path, allow_partial=False)
    assert [tile.key for tile in data.tiles] == ["9", "20", "100"]
    assert data.tiles[0].mask == tmp_path / place / "9_mask.png"
    assert data.missing == []


def test_a_wrong_root_is_refused_with_what_is_expected_there(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(DEEPGLOBE, tmp_path / "nowhere")
    assert "train/{key}_sat.jpg" in refusal(DEEPGLOBE, tmp_path)


def test_what_has_no_partner_is_named(tmp_path: Path) -> None:
    make_pairs(tmp_path, "1", "2", "3")
    (tmp_path / "2_mask.png").unlink()
    assert "no mask for 1 of 3 images, expected {key}_mask.png: 2_sat.jpg;" in refusal(ANY_NUMBER, tmp_path)
    (tmp_path / "2_sat.jpg").unlink()
    (tmp_path / "3_sat.jpg").unlink()
    assert "no image for 1 of 2 masks, expected {key}_sat.jpg: 3_mask.png;" in refusal(ANY_NUMBER, tmp_path)


def test_a_part_of_the_release_is_used_only_where_it_is_allowed(tmp_path: Path) -> None:
    make_pairs(tmp_path, "1", "2", "3")
    (tmp_path / "4_sat.jpg").touch()
    assert "--allow-partial" in refusal(DEEPGLOBE, tmp_path)
    data = DEEPGLOBE.load(tmp_path, allow_partial=True)
    assert [tile.key for tile in data.tiles] == ["1", "2", "3"]
    assert data.missing[0].startswith("no mask for 1 of 4 images")
    assert data.missing[1] == "3 of the 803 tiles of DeepGlobe land cover that have a mask"


def test_the_whole_release_lacks_nothing(tmp_path: Path) -> None:
    make_pairs(tmp_path / "train", *map(str, range(803)))
    assert DEEPGLOBE.load(tmp_path, allow_partial=False).missing == []


def test_multiples_of_five_validate(tmp_path: Path) -> None:
    make_pairs(tmp_path, *map(str, range(1, 13)))
    split = ANY_NUMBER.split(ANY_NUMBER.load(tmp_path, allow_partial=False).tiles, None)
    assert [tile.key for tile in split.val] == ["5", "10"]
    assert len(split.train) == 10
    assert "multiple of 5" in split.name


def test_a_file_of_ids_replaces_the_rule(tmp_path: Path) -> None:
    make_pairs(tmp_path / "root", "1", "5", "a7")
    tiles = ANY_NUMBER.load(tmp_path / "root", allow_partial=False).tiles
    ids = tmp_path / "ids.txt"
    ids.write_text("a7\n1\n", encoding="utf-8")
    split = ANY_NUMBER.split(tiles, ids)
    assert [tile.key for tile in split.val] == ["1", "a7"]
    assert [tile.key for tile in split.train] == ["5"]
    assert split.name == "the 2 tiles named in ids.txt validate"


@pytest.mark.parametrize(
    ("keys", "ids", "sentence"),
    [
        (("1", "5"), "1\n77\n", "names '77', which is not among the tiles"),
        (("1", "5"), "1\n5\n", "0 would train and 2 validate"),
        (("1", "5"), None, "can't be read as a text file of ids"),
    ],
)
def test_files_of_ids_that_do_not_fit_are_refused(
    tmp_path: Path, keys: tuple[str, ...], ids: str | None, sentence: str
) -> None:
    make_pairs(tmp_path / "root", *keys)
    if ids is not None:
        (tmp_path / "ids.txt").write_text(ids, encoding="utf-8")
    with pytest.raises(UserError, match=sentence):
        ANY_NUMBER.split(ANY_NUMBER.load(tmp_path / "root", allow_partial=False).tiles, tmp_path / "ids.txt")


@pytest.mark.parametrize(
    ("keys", "sentence"), [(("1", "2"), "0 validate"), (("5", "a7"), "'a7' is not a whole number")]
)
def test_tiles_that_the_rule_can_not_divide_ask_for_a_file(
    tmp_path: Path, keys: tuple[str, ...], sentence: str
) -> None:
    make_pairs(tmp_path, *keys)
    with pytest.raises(UserError, match=re.escape(sentence)) as caught:
        ANY_NUMBER.split(ANY_NUMBER.load(tmp_path, allow_partial=False).tiles, None)
    assert "--val-ids" in str(caught.value)


def test_the_demo_is_drawn_in_the_colours_that_are_read() -> None:
    assert [tuple(colour) for colour in PALETTE] == list(DEEPGLOBE_CLASSES.values())


def test_no_validation_place_of_the_demo_is_in_the_training_split_of_its_shards() -> None:
    for key in range(1000, 1100):
        assert DEMO_LANDCOVER.validates(key) == (split_by_key(str(key)) == "test")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["--protocol", "tuned"], "protocol must be paper for deepglobe, got tuned"),
        (["--head-on", "embedding"], "head_on has no effect on deepglobe: it is a setting of scene recognition"),
        (["--train-fraction=0.5"], "train_fraction has no effect on deepglobe"),
        (["--image-size", "100"], "image_size must be a multiple of 16"),
        (["--patch-stride", "-1"], "patch_stride must be >= 0, got -1"),
    ],
)
def test_settings_without_a_meaning_here_are_refused(change: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        parse(["deepglobe", "--root", str(tmp_path), "--out", str(tmp_path / "out"), *change])


def test_settings_are_the_published_ones_unless_given() -> None:
    settings = resolved(BENCHMARKS["deepglobe"], LandCoverSettings())  # type: ignore[arg-type]
    assert (settings.batch_size, settings.image_size, settings.patch_stride, settings.epochs) == (16, 512, 347, 5)
    assert (settings.optimizer.name, settings.optimizer.learning_rate) == ("adam", 1e-3)
    assert (settings.optimizer.warmup_epochs, settings.optimizer.final_fraction) == (0, 1)
    assert resolved(DEEPGLOBE, replace(settings, patch_stride=484)).patch_stride == 484
