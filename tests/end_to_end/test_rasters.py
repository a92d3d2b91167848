"""16-bit rasters of four bands, from the build to benchmarks: commands see them in the bands and scale learned."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import soundfile
import torch
from commands import SMALL, python, run
from PIL import Image
from raster_files import write_raster
from rasterio.transform import from_origin
from shard_commands import files_of

from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from shards.manifest import Manifest
from shards.raster_settings import RasterSettings
from shards.streaming.reading import ShardSet

NUM_PAIRS = 60

LEVELS = {"forest": (300, 420, 260, 2600), "sand": (300, 420, 260, 700)}
"""Blue, green, red and infrared: forest and sand differ in infrared alone, the band that comes first in --bands."""

BANDS = ("4", "3", "2")


def chip(kind: str, number: int) -> np.ndarray:
    """(4, 48, 48) uint16; a strip without data on the left, in one band only."""
    generator = np.random.default_rng(number)
    values = np.array(LEVELS[kind])[:, None, None] * (1 + generator.normal(0, 0.03, (4, 48, 48)))
    values[3, :, :4] = 0
    return values.round().astype(np.uint16)


def write_chip(path: Path, kind: str, number: int, bands: tuple[int, ...] = (0, 1, 2, 3)) -> None:
    corner = from_origin(5e5 + 480 * number, 5.5e6, 10, 10)
    values = chip(kind, number)[list(bands)]
    write_raster(path, values, crs="EPSG:32632", transform=corner, nodata=0, photometric="MINISBLACK")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty pairs whose table has no coordinates: the rasters have their own."""
    root = tmp_path_factory.mktemp("corpus") / "corpus"
    for folder in ("images", "audio"):
        (root / folder).mkdir(parents=True)
    for number in range(NUM_PAIRS):
        kind = ("forest", "sand")[number % 2]
        write_chip(root / "images" / f"{number}.tif", kind, number)
        tone = np.sin(np.arange(16_000 * 4) * (0.1 if kind == "forest" else 0.5))
        soundfile.write(root / "audio" / f"{number}.wav", 0.3 * tone, 16_000)
    with (root / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["key"], *([number] for number in range(NUM_PAIRS))])
    return root


def build(root: Path, out: Path, *more: str | Path) -> Path:
    words = ["build", "--source", "recordings", "--root", root, "--out", out, "--jpeg-quality", "100"]
    result = run(python("shards/run.py", *words, "--samples-per-shard", "8", *more), cwd=out.parent)
    assert result.returncode == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def shards(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(corpus, tmp_path_factory.mktemp("shards") / "set", "--workers", "1", "--bands", *BANDS)


@pytest.fixture(scope="module")
def trained(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    words = ["symmetric-contrastive", "--shards", shards, "--out", out, "--epochs", "2", *SMALL]
    result = run(python("pretrain/run.py", *words), cwd=out.parent)
    assert result.returncode == 0, result.stderr
    return out


def stored(shards: Path) -> dict[str, np.ndarray]:
    """Key → the image in the set."""
    shard_set = ShardSet.open(shards)
    return {sample.key: sample.image() for split in shard_set.manifest.splits for sample in shard_set.samples(split)}


def test_the_set_holds_what_the_files_show_and_says_how(corpus: Path, shards: Path) -> None:
    manifest = Manifest.load(shards)
    assert manifest.rasters.bands == (4, 3, 2)
    assert manifest.rasters.scale_by == "corpus"
    assert manifest.rasters.scale_range is not None
    low, high = manifest.rasters.scale_range
    images = stored(shards)
    training = [sample.key for sample in ShardSet.open(shards).samples("train")]
    chosen = []
    for key in training:
        with rasterio.open(corpus / "images" / f"{key}.tif") as raster:
            values = raster.read([4, 3, 2])
        chosen.append(values[:, (values > 0).all(0)].ravel())
    assert (low, high) == pytest.approx(np.percentile(np.concatenate(chosen), [2, 98]), rel=1e-4)
    for key in ("0", "1"):
        kind = ("forest", "sand")[int(key)]
        expected = [np.clip((level - low) / (high - low) * 255, 0, 255) for level in np.array(LEVELS[kind])[[3, 2, 1]]]
        assert images[key][:, 8:].reshape(-1, 3).mean(0) == pytest.approx(expected, abs=3)
        assert images[key][:, :2].max() < 20, "without data in infrared"
    # Infrared of forest stays brighter than that of sand, which a range for each image would have lost.
    assert images["0"][..., 0].mean() > images["1"][..., 0].mean() + 80
    place = next(sample.metadata() for sample in ShardSet.open(shards).samples("train"))
    assert 9 < place["longitude"] < 9.5
    assert 49.6 < place["latitude"] < 49.7


def test_parts_resumed_builds_and_repaired_shards_have_the_same_bytes(
    corpus: Path, shards: Path, tmp_path: Path
) -> None:
    words = ["--workers", "1", "--bands", *BANDS]
    for part in ("2/2", "1/2"):
        build(corpus, tmp_path / "parts", *words, "--part", part)
    assert files_of(tmp_path / "parts") == files_of(shards)
    (tmp_path / "parts" / "train-000001.tar").unlink()
    build(corpus, tmp_path / "parts", "--workers", "2", "--bands", *BANDS)
    assert files_of(tmp_path / "parts") == files_of(shards)


def embeddings_of(weights: Path, images: Path, out: Path) -> dict[str, np.ndarray]:
    result = run(
        python("retrieval/run.py", "embed", "--weights", weights, "--images", images, "--out", out), cwd=out.parent
    )
    assert result.returncode == 0, result.stderr
    arrays = np.load(out, allow_pickle=False)
    return dict(zip((Path(name).stem for name in arrays["names"]), arrays["embeddings"], strict=True))


def test_embed_sees_a_raster_as_its_image_in_the_set(corpus: Path, shards: Path, trained: Path, tmp_path: Path) -> None:
    found = embeddings_of(trained, corpus / "images", tmp_path / "images.npz")
    assert len(found) == NUM_PAIRS
    images = stored(shards)
    model = TwoTower.from_pretrained(trained).eval()
    keys = sorted(images)
    pixels = np.stack([evaluation_image(images[key], model.config.image_size) for key in keys])
    with torch.inference_mode():
        expected = model.encode_image(torch.from_numpy(pixels)).numpy()
    # JPEG at quality 100 moves values by a level or two, which is less than what tells the places apart.
    difference = np.linalg.norm(np.stack([found[key] for key in keys]) - expected, axis=1)
    forest, sand = (np.array([int(key) % 2 == kind for key in keys]) for kind in (0, 1))
    apart = np.linalg.norm(expected[forest].mean(0) - expected[sand].mean(0))
    assert difference.max() < 0.4 * apart


def test_a_model_says_what_it_learned_from(shards: Path, trained: Path) -> None:
    rasters = Manifest.load(shards).rasters
    record = json.loads((trained / "model" / "config.json").read_text())
    assert RasterSettings.from_dict(record["rasters"]) == rasters
    assert record["preprocessing"]["image"]["raster_bands"] == [4, 3, 2]
    assert rasters.scale_range is not None
    low, high = rasters.scale_range
    assert record["preprocessing"]["image"]["raster_scale"].startswith(f"{low:g} to {high:g}, to 0 to 255")


def test_embed_refuses_rasters_that_lack_a_band_by_their_reason(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_chip(tmp_path / "images" / "rgb.tif", "forest", 0, bands=(2, 1, 0))
    words = ["embed", "--weights", trained, "--images", tmp_path / "images", "--out", tmp_path / "out.npz"]
    result = run(python("retrieval/run.py", *words), cwd=tmp_path)
    assert result.returncode == 2
    assert "rgb.tif: band 4 of 3; red, green and blue are the bands 4, 3, 2" in result.stderr


def test_scenes_that_differ_in_infrared_alone_are_told_apart(trained: Path, tmp_path: Path) -> None:
    for kind in LEVELS:
        (tmp_path / "scenes" / kind).mkdir(parents=True)
        for number in range(10):
            write_chip(tmp_path / "scenes" / kind / f"{number}.tif", kind, 100 + number)
    words = ["folder", "--root", tmp_path / "scenes", "--weights", trained, "--protocol", "knn", "--num-seeds", "1"]
    words += ["--out", tmp_path / "out", "--tracker", "none", "--workers", "0", "--image-size", "32"]
    result = run(python("downstream/run.py", *words), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "out" / "results.json").read_text())
    assert record["epochs"][0]["accuracy"] == 1.0
    # Pictures that hold three bands can't be shown to these weights.
    for kind in LEVELS:
        for number in range(10):
            write_chip(tmp_path / "scenes" / kind / f"{number}.tif", kind, number, bands=(2, 1, 0))
    words[words.index(tmp_path / "out")] = tmp_path / "other"
    result = run(python("downstream/run.py", *words), cwd=tmp_path)
    assert result.returncode == 2
    assert "band 4 of 3" in result.stderr


def test_evaluate_warns_of_a_set_that_was_made_with_other_bands(
    corpus: Path, shards: Path, trained: Path, tmp_path: Path
) -> None:
    other = build(corpus, tmp_path / "other", "--workers", "1", "--scale-range", "0", "3000", "--limit", "24")
    rasters = Manifest.load(other).rasters
    assert rasters == RasterSettings((1, 2, 3), (0.0, 3000.0), "range")
    green = stored(other)["0"][:, 8:, 1]
    assert green.mean() == pytest.approx(420 / 3000 * 255, abs=1.5)
    evaluate = ["evaluate", "--weights", trained, "--split", "test", "--crops", "1", "--shards"]
    result = run(python("retrieval/run.py", *evaluate, other, "--out", tmp_path / "a"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"bands 1, 2, 3, scaled from 0 to 3000 in {other}" in result.stderr
    result = run(python("retrieval/run.py", *evaluate, shards, "--out", tmp_path / "b"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "rasters" not in result.stderr


def test_mistaken_scales_end_in_one_sentence(corpus: Path, tmp_path: Path) -> None:
    words = ["build", "--source", "recordings", "--root", corpus, "--out", tmp_path / "set"]
    for more, sentence in (
        (["--scale-range", "9", "9"], "--scale-range must be LOW HIGH with LOW < HIGH, got (9.0, 9.0)"),
        (["--scale-range", "0", "9", "--scale-by", "chip"], "omit one of them"),
        (["--bands", "0", "1", "2"], "--bands must be >= 1, counted from 1, got (0, 1, 2)"),
    ):
        result = run(python("shards/run.py", *words, *more), cwd=tmp_path)
        assert result.returncode == 2
        assert sentence in result.stderr
    assert not (tmp_path / "set").exists()


def test_each_image_by_itself_where_that_is_asked_for(corpus: Path, tmp_path: Path) -> None:
    out = build(corpus, tmp_path / "set", "--workers", "1", "--scale-by", "chip", "--limit", "12")
    assert Manifest.load(out).rasters == RasterSettings()
    means = [image.mean() for image in stored(out).values()]
    assert np.ptp(means) < 25


def test_a_corpus_of_pictures_needs_nothing_of_this(corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus, tmp_path / "corpus")
    rows = [["key", "longitude", "latitude"]]
    for number, path in enumerate(sorted((tmp_path / "corpus" / "images").iterdir())):
        encoded = io.BytesIO()
        Image.new("RGB", (48, 48), (10 * (number % 20), 90, 30)).save(encoded, "PNG")
        path.unlink()
        path.with_suffix(".png").write_bytes(encoded.getvalue())
        rows.append([path.stem, "7", "50"])
    with (tmp_path / "corpus" / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    out = build(tmp_path / "corpus", tmp_path / "set", "--workers", "1", "--limit", "12")
    assert Manifest.load(out).rasters.learned == RasterSettings()
