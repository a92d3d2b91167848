"""Scene data sets on disk: official layouts, what is missing, unknown or unreadable, and images of odd sizes."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from scene_folders import write_scenes

from downstream.benchmarks import BENCHMARKS
from downstream.running.images import WholeImage, check_images
from downstream.scenes.aid import AID
from downstream.scenes.benchmark import SceneBenchmark
from downstream.scenes.demo_scenes import DEMO_SCENES
from downstream.scenes.folder import FOLDER
from downstream.scenes.kind import SCENES
from downstream.scenes.resisc45 import RESISC45
from downstream.scenes.ucmerced import UCMERCED
from shards.decoding.imagery import load_image
from shards.demo_world.corpus import generate_demo_corpus
from shards.errors import UserError

SMALL = SceneBenchmark("small", "Small", folder="Small/Images", images_of_class={"field": 3, "roof": 3, "water": 3})


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A whole release of `SMALL`; what to give as root is the folder above."""
    write_scenes(tmp_path / "root" / "Small" / "Images", 3)
    return tmp_path / "root" / "Small" / "Images"


def refusal(benchmark: SceneBenchmark, root: Path, *, allow_partial: bool = False) -> str:
    with pytest.raises(UserError) as caught:
        benchmark.load(root, allow_partial=allow_partial)
    return str(caught.value)


@pytest.mark.parametrize(
    ("benchmark", "classes", "images"), [(UCMERCED, 21, 2100), (RESISC45, 45, 31500), (AID, 30, 10000)]
)
def test_published_counts(benchmark: SceneBenchmark, classes: int, images: int) -> None:
    assert benchmark.images_of_class
    assert len(benchmark.images_of_class) == classes
    assert sum(benchmark.images_of_class.values()) == images


def test_all_are_found_by_name() -> None:
    scenes = {name: BENCHMARKS[name] for name in BENCHMARKS if BENCHMARKS[name].kind is SCENES}
    assert {"ucmerced", "resisc45", "aid", "folder", "demo-scenes"} <= set(scenes)
    assert [scenes[name].usual_fractions for name in ("ucmerced", "aid", "resisc45")] == [
        (0.5, 0.8),
        (0.2, 0.5),
        (0.1, 0.2),
    ]


def test_a_whole_release_from_its_root_or_its_inner_folder(release: Path) -> None:
    data = SMALL.load(release.parents[1], allow_partial=False)
    assert (data.classes, data.missing, len(data.items)) == (["field", "roof", "water"], [], 9)
    assert [item.key for item in data.items] == sorted(item.key for item in data.items)
    assert data.items[-1].key == "water/water_002.png"
    assert data.items[-1].label == 2
    assert SMALL.load(release, allow_partial=False) == data


def test_a_wrong_root_is_told_with_the_layout(release: Path, tmp_path: Path) -> None:
    assert "is not a folder; give the folder with Small" in refusal(SMALL, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert f"expected {tmp_path / 'empty'}/Small/Images/<class>/<image>" in refusal(SMALL, tmp_path / "empty")
    assert "expected" in refusal(FOLDER, tmp_path / "empty")
    (tmp_path / "one" / "class").mkdir(parents=True)
    shutil.copy(next(release.rglob("*.png")), tmp_path / "one" / "class")
    assert "fewer than 2 classes" in refusal(FOLDER, tmp_path / "one")


def test_missing_classes_and_images_are_counted_and_may_be_allowed(release: Path) -> None:
    (release / "field" / "field_001.png").unlink()
    assert "8 of 9 images; field has 2 of 3; --allow-partial accepts it" in refusal(SMALL, release)
    shutil.rmtree(release / "water")
    assert "5 of 9 images; field has 2 of 3, water has 0 of 3" in refusal(SMALL, release)
    data = SMALL.load(release, allow_partial=True)
    assert data.missing == ["5 of 9 images; field has 2 of 3, water has 0 of 3"]
    # Labels stay those of the whole release.
    assert data.classes == ["field", "roof", "water"]
    assert sorted({item.label for item in data.items}) == [0, 1]


@pytest.mark.parametrize("allow_partial", [False, True])
def test_an_unknown_class_is_always_refused(release: Path, allow_partial: bool) -> None:
    (release / "road").mkdir()
    assert SMALL.load(release, allow_partial=allow_partial).classes == ["field", "roof", "water"]
    shutil.copy(release / "water" / "water_000.png", release / "road" / "road_000.png")
    sentence = refusal(SMALL, release, allow_partial=allow_partial)
    assert "holds the folder 'road', which is not a class of Small; its classes are: field, roof, water" in sentence


def test_unreadable_images_are_named_counted_and_refused_above_a_share(release: Path) -> None:
    (release / "roof" / "roof_001.png").write_bytes(b"not an image")
    whole = (release / "water" / "water_000.png").read_bytes()
    (release / "water" / "water_000.png").write_bytes(whole[: len(whole) // 2])
    items = SMALL.load(release, allow_partial=False).items
    for threads in (1, 3):
        readable, faults = check_images(items, max_corrupt=0.3, threads=threads)
        assert len(readable) == 7
        assert [fault.split(":")[0] for fault in faults] == ["roof/roof_001.png", "water/water_000.png"]
    with pytest.raises(
        UserError, match=r"2 of 9 images can't be used, more than max_corrupt 0.2; the first: roof/roof_001"
    ):
        check_images(items, max_corrupt=0.2)


def test_odd_sizes_and_kinds_become_squares(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for name, shape in {"odd.png": (242, 256, 3), "grey.tif": (256, 256), "wide.jpg": (50, 300, 3)}.items():
        cv2.imwrite(str(tmp_path / name), generator.integers(0, 256, shape, dtype=np.uint8))
        seen = WholeImage(64)(load_image(tmp_path / name).rgb, 0)
        assert (seen.shape, seen.dtype, seen.flags.c_contiguous) == ((3, 64, 64), np.uint8, True)
    same = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(WholeImage(64)(same, 0), same.transpose(2, 0, 1))


@pytest.fixture(scope="module")
def demo_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "world"
    generate_demo_corpus(root, num_places=24, image_size=64, clip_seconds=0.5, num_workers=0, show_progress=False)
    return root


def test_the_demo_world_is_a_scene_data_set(demo_world: Path, tmp_path: Path) -> None:
    data = DEMO_SCENES.load(demo_world, allow_partial=False)
    assert len(data.items) == 24
    assert data.classes == sorted(["shore", "river", "town", "village", "industry", "forest", "farmland", "park"])
    table = (demo_world / "metadata.csv").read_text()
    for item in data.items:
        name, _, file = item.key.partition("/")
        assert data.classes[item.label] == name
        assert f"a generated {name} in" in next(line for line in table.splitlines() if f",{file[:-4]}," in line)

    partial = tmp_path / "partial"
    shutil.copytree(demo_world, partial)
    (partial / "images" / data.items[0].path.name).unlink()
    assert "23 of 24 images; the first missing one" in refusal(DEMO_SCENES, partial)
    assert len(DEMO_SCENES.load(partial, allow_partial=True).items) == 23
    (partial / "metadata.csv").write_text(table.replace(",forest,", ",jungle,").replace(",shore,", ",jungle,"))
    assert "scene 'jungle' is not a class of the demo world" in refusal(DEMO_SCENES, partial, allow_partial=True)
    assert "python shards/run.py build --source demo --root" in refusal(DEMO_SCENES, tmp_path)
