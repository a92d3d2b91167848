"""The demo world: the same bytes every time, a layout that others read, and factors that shape both files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy.spatial.distance import cdist

from shards.demo_world import corpus
from shards.demo_world.canvas import PALETTE
from shards.demo_world.corpus import COLUMNS, generate_demo_corpus
from shards.demo_world.factors import LAND_USES, MOODS, Factors, Place, generate_places
from shards.demo_world.painting import paint_place
from shards.demo_world.sounding import record_place
from shards.errors import UserError

NUM_PLACES = 20
CLIP_SECONDS = 1.5
SAMPLE_RATE_HZ = 22_050
IMAGE_SIZE = 128


def generate(root: Path, *, num_workers: int = 1, **changed: float) -> None:
    settings = {"num_places": NUM_PLACES, "image_size": IMAGE_SIZE, "clip_seconds": CLIP_SECONDS} | changed
    generate_demo_corpus(root, num_workers=num_workers, show_progress=False, **settings)  # type: ignore[arg-type]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "metadata.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "corpus"
    generate(root)
    return root


def test_two_processes_write_the_same_bytes_as_one(demo: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", num_workers=2)
    assert contents(tmp_path / "again") == contents(demo)


def test_another_seed_is_another_world(demo: Path, tmp_path: Path) -> None:
    generate(tmp_path / "other", seed=1, num_places=2)
    ours, others = contents(demo), contents(tmp_path / "other")
    assert others["images/1000.jpg"] != ours["images/1000.jpg"]
    assert rows(tmp_path / "other")[0]["longitude"] != rows(demo)[0]["longitude"]


def test_a_smaller_world_is_the_beginning_of_a_larger_one(demo: Path, tmp_path: Path) -> None:
    generate(tmp_path / "small", num_places=3)
    ours, small = contents(demo), contents(tmp_path / "small")
    assert all(ours[name] == small[name] for name in small if name.startswith(("images/", "masks/", "audio/")))


def test_layout_is_that_of_soundingearth_with_masks(demo: Path) -> None:
    table = rows(demo)
    assert tuple(table[0]) == COLUMNS
    names = {"metadata.csv", "corpus.json"}
    for row in table:
        names |= {f"images/{row['key']}.jpg", f"masks/{row['key']}_mask.png", f"audio/{row['mp3name']}"}
        assert -180 <= float(row["longitude"]) <= 180
        assert -90 <= float(row["latitude"]) <= 90
    assert set(contents(demo)) == names
    assert json.loads((demo / "corpus.json").read_text())["num_places"] == NUM_PLACES


def test_every_remainder_of_the_keys_is_as_frequent(demo: Path) -> None:
    remainders = Counter(int(row["key"]) % 10 for row in rows(demo))
    assert remainders == Counter(dict.fromkeys(range(10), NUM_PLACES // 10))


def test_masks_hold_the_palette_alone_and_are_congruent(demo: Path) -> None:
    palette = {tuple(colour) for colour in PALETTE.tolist()}
    seen: set[tuple[int, ...]] = set()
    for row in rows(demo):
        picture = Image.open(demo / "images" / f"{row['key']}.jpg")
        mask = Image.open(demo / "masks" / f"{row['key']}_mask.png")
        assert picture.size == mask.size == (IMAGE_SIZE, IMAGE_SIZE)
        assert picture.mode == mask.mode == "RGB"
        seen |= {tuple(colour) for colour in np.unique(np.asarray(mask).reshape(-1, 3), axis=0).tolist()}
    assert seen == palette


def test_the_mask_lies_on_the_picture() -> None:
    """The picture is bluer where the mask says water, and much less so under a mask turned by 90 degrees."""
    aligned, turned = [], []
    for place in generate_places(60, seed=0):
        picture, mask = paint_place(place, IMAGE_SIZE, place.generator(0, 0))
        is_water = (mask == (0, 0, 255)).all(axis=-1)
        if not 0.1 < is_water.mean() < 0.9:
            continue
        blueness = picture[..., 2].astype(float) - picture[..., 0]
        aligned.append(blueness[is_water].mean() - blueness[~is_water].mean())
        turned.append(blueness[np.rot90(is_water)].mean() - blueness[~np.rot90(is_water)].mean())
    assert len(aligned) > 10
    assert np.mean(aligned) > 25
    assert np.mean(turned) < np.mean(aligned) / 2


def test_sounds_decode_with_the_rate_and_length_that_the_table_says(demo: Path) -> None:
    extensions = set()
    for row in rows(demo):
        samples, sample_rate_hz = soundfile.read(demo / "audio" / row["mp3name"], always_2d=True)
        assert sample_rate_hz == int(row["mp3samplerate"]) == SAMPLE_RATE_HZ
        assert len(samples) == round(CLIP_SECONDS * SAMPLE_RATE_HZ)
        assert float(row["mp3seconds"]) == CLIP_SECONDS
        assert samples.shape[1] == int(row["mp3channels"])
        assert np.abs(samples).max() < 1
        assert -45 < 20 * np.log10(samples.std()) < -10
        extensions.add(Path(row["mp3name"]).suffix)
    assert extensions == {".mp3", ".ogg", ".flac", ".wav"}


def test_no_file_carries_a_tag(demo: Path) -> None:
    for row in rows(demo):
        picture = Image.open(demo / "images" / f"{row['key']}.jpg")
        assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert not picture.getexif()
        assert not Image.open(demo / "masks" / f"{row['key']}_mask.png").info
        sound = demo / "audio" / row["mp3name"]
        assert not soundfile.SoundFile(sound).copy_metadata()
        assert not any(tag in sound.read_bytes() for tag in (b"ID3", b"TAG", b"APIC"))


def test_a_finished_corpus_is_reused_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generate(tmp_path / "demo", num_places=2)
    before = contents(tmp_path / "demo")

    def refuse(*_: object) -> None:
        raise AssertionError("painted again")

    monkeypatch.setattr(corpus, "paint_place", refuse)
    generate(tmp_path / "demo", num_places=2)
    assert contents(tmp_path / "demo") == before


def test_an_interrupted_generation_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    painted: list[str] = []

    def interrupted(place: Place, *arguments: object) -> object:
        if len(painted) == 3:
            raise KeyboardInterrupt
        painted.append(place.key)
        return paint_place(place, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(corpus, "paint_place", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(tmp_path / "demo", num_places=6)
    assert not (tmp_path / "demo").exists()

    def counted(place: Place, *arguments: object) -> object:
        painted.append(place.key)
        return paint_place(place, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(corpus, "paint_place", counted)
        generate(tmp_path / "demo", num_places=6)
    assert painted == [str(1000 + index) for index in range(6)]
    generate(tmp_path / "straight", num_places=6)
    assert contents(tmp_path / "demo") == contents(tmp_path / "straight")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "straight"]


def test_what_was_begun_with_other_parameters_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "_write_metadata", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "demo", num_places=2, seed=5)
    monkeypatch.undo()
    generate(tmp_path / "demo", num_places=2)
    generate(tmp_path / "straight", num_places=2)
    assert contents(tmp_path / "demo") == contents(tmp_path / "straight")


def test_other_parameters_are_refused(demo: Path) -> None:
    with pytest.raises(UserError, match=r"seed 0, not 3; choose another folder"):
        generate(demo, seed=3)


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(UserError, match="not a demo corpus"):
        generate(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "two years of work"


@pytest.mark.parametrize(
    "changed", [{"num_places": 0}, {"seed": -1}, {"image_size": 8}, {"clip_seconds": 0.1}, {"sample_rate_hz": 8000}]
)
def test_parameters_out_of_range_are_refused_by_name(tmp_path: Path, changed: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(changed))):
        generate(tmp_path / "demo", num_workers=1, **changed)
    assert not list(tmp_path.iterdir())


def test_every_scene_holds_at_least_a_twentieth_of_the_places() -> None:
    for seed in range(3):
        scenes = Counter(place.factors.scene for place in generate_places(1200, seed))
        assert len(scenes) == 8
        assert min(scenes.values()) >= 1200 / 20


def test_neighbours_are_more_alike_than_strangers() -> None:
    places = list(generate_places(1200, seed=0))
    factors = np.array([astuple(place.factors) for place in places])
    kilometres = cdist(*2 * [np.array([[place.east_km, place.north_km] for place in places])])
    same_region = np.array([[a.region is b.region for a in places] for b in places])
    unlikeness = cdist(factors, factors)
    other = ~np.eye(len(places), dtype=bool)
    near = unlikeness[(kilometres < 1) & same_region & other].mean()
    far = unlikeness[(kilometres > 15) & same_region & other].mean()
    assert near < 0.35 * far


def covers_and_bands(place: Place, factors: Factors) -> tuple[np.ndarray, np.ndarray]:
    """Land cover shares (6,) and mean power of 8 pitch bands in dB (8,) of a place with the given factors."""
    place = Place(place.key, place.region, place.east_km, place.north_km, factors)
    _, mask = paint_place(place, IMAGE_SIZE, place.generator(0, 0))
    sound = record_place(
        place, clip_seconds=2.0, sample_rate_hz=SAMPLE_RATE_HZ, num_channels=1, generator=place.generator(0, 1)
    )[:, 0]
    covers = np.array([(mask == colour).all(axis=-1).mean() for colour in PALETTE])
    bands = np.array_split(np.abs(np.fft.rfft(sound)) ** 2, 8)
    return covers, 10 * np.log10([band.mean() for band in bands])


@pytest.mark.parametrize("use", LAND_USES)
def test_each_land_use_shapes_both_picture_and_sound(use: str) -> None:
    place = next(generate_places(1, seed=0))
    moods = dict.fromkeys(MOODS, 0.5)
    without, with_it = ({name: share if name == use else (1 - share) / 7 for name in LAND_USES} for share in (0, 0.65))
    covers, bands = covers_and_bands(place, Factors(**without, **moods))
    changed_covers, changed_bands = covers_and_bands(place, Factors(**with_it, **moods))
    assert np.abs(covers - changed_covers).max() > 0.1
    assert np.abs(bands - changed_bands).max() > 3
