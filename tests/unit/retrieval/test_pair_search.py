"""`earshot.search` and `earshot.evaluate`: the nearest pairs by brute force, and the figures of the command."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from released_runs import small_towers
from tiny_shards import write_tiny_shards

import earshot
from pretrain.training.embedding import embed_split, spread_crops
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS
from shards.streaming.reading import ShardSet

COUNTS = {"train": 9, "val": 4, "test": 12}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_shards(tmp_path_factory.mktemp("set") / "shards", COUNTS, image_side=40)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> earshot.AudiovisualModel:
    folder = tmp_path_factory.mktemp("run")
    small_towers().save_pretrained(folder / "model")
    return earshot.load(folder, device="cpu", crops=3)


def test_hits_are_the_nearest_pairs_with_their_places(
    model: earshot.AudiovisualModel, shards: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (60, 60, 3), dtype=np.uint8))
    soundfile.write(tmp_path / "a.wav", rng.normal(0, 0.1, 60_000), 16_000)
    images, sounds = [tmp_path / "a.png", tmp_path / "b.png"], tmp_path / "a.wav"
    stored = embed_split(model.towers, ShardSet.open(shards), "test", crop_starts=spread_crops(128, 3))
    for queries, gallery, hits in (
        (model.embed_images(images), stored.sound, earshot.search(model, shards, images=images, count=5)),
        (model.embed_sounds(sounds), stored.image, earshot.search(model, shards, sounds=sounds, count=5)),
        (
            model.embed_sounds(sounds),
            stored.sound,
            earshot.search(model, shards, sounds=sounds, among="sound", count=5),
        ),
    ):
        assert len(hits) == len(queries)
        for query, found in zip(queries, hits, strict=True):
            distances = np.sqrt(np.square(gallery.astype(float) - query).sum(axis=1))
            nearest = np.argsort(distances, kind="stable")[:5]
            assert [hit.key for hit in found] == [stored.keys[i] for i in nearest]
            assert [hit.distance for hit in found] == pytest.approx(distances[nearest], rel=1e-4)
            assert [hit.rank for hit in found] == [1, 2, 3, 4, 5]
            for hit in found:
                assert hit.split == "test"
                assert hit.title == f"place {hit.key}"
                assert (hit.longitude, hit.latitude) == (int(hit.key) % 360 - 180, 40.0)
                assert hit.metadata["title"] == hit.title
    # The cache is the explorer's.
    [kept] = (model.weights / "explore").iterdir()
    assert (kept / "atlas.json").is_file()
    # A folder is loaded, with ten crops.
    by_folder = earshot.search(model.weights, shards, images=images, count=5)
    loaded = earshot.load(model.weights)
    assert by_folder == earshot.search(loaded, shards, embeddings=loaded.embed_images(images), among="sound", count=5)
    skipped = loaded.embed_images(images, on_error="skip")
    assert by_folder == earshot.search(loaded, shards, embeddings=skipped, among="sound", count=5)


def test_queries_can_be_embeddings_and_the_split_all_of_them(
    model: earshot.AudiovisualModel, shards: Path, tmp_path: Path
) -> None:
    stored = embed_split(model.towers, ShardSet.open(shards), "val", crop_starts=spread_crops(128, 3))
    hits = earshot.search(
        model, shards, embeddings=stored.image, among="image", split="all", count=100, cache=tmp_path / "cache"
    )
    assert [found[0].key for found in hits] == stored.keys
    assert {found[0].split for found in hits} == {"val"}
    assert [len(found) for found in hits] == [25] * 4
    assert [hit.distance for hit in hits[0]] == sorted(hit.distance for hit in hits[0])
    # A mixed query: half an image, half a sound.
    [mixed] = earshot.search(
        model, shards, embeddings=(stored.image[0] + stored.sound[0]) / 2, among="sound", split="val", count=1,
        cache=tmp_path / "cache",
    )  # fmt: skip
    assert mixed[0].rank == 1


def test_mistakes_of_a_search_are_named(model: earshot.AudiovisualModel, shards: Path, tmp_path: Path) -> None:
    pixels = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(earshot.UserError, match="give images, sounds or embeddings as queries, got none of them"):
        earshot.search(model, shards)
    with pytest.raises(earshot.UserError, match="as queries, got images and sounds"):
        earshot.search(model, shards, images=pixels, sounds="a.wav")
    with pytest.raises(earshot.UserError, match="among must be image or sound where embeddings are given"):
        earshot.search(model, shards, embeddings=np.zeros(128, np.float32))
    with pytest.raises(ValueError, match=r"embeddings must be finite and \(q, 128\), got shape \(3, 5\)"):
        earshot.search(model, shards, embeddings=np.zeros((3, 5), np.float32), among="image")
    with pytest.raises(earshot.UserError, match="split must be one of train, val, test, all, got 'tset'"):
        earshot.search(model, shards, images=pixels, split="tset")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="count must be a whole number, got '3'"):
        earshot.search(model, shards, images=pixels, count="3")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"model must be what earshot\.load returns, or a folder or .*, got 3"):
        earshot.search(3, shards, images=pixels)  # type: ignore[arg-type]
    with pytest.raises(earshot.UserError, match="no weights at RUN: no such folder"):
        earshot.search("RUN", shards, images=pixels)
    with pytest.raises(ValueError, match="sample_rate_hz is for waveforms in sounds, and has no effect on other"):
        earshot.search(model, shards, images=pixels, sample_rate_hz=8_000)
    with pytest.raises(TypeError, match="embeddings must be an array of numbers, got str"):
        earshot.search(model, shards, embeddings="a.npz", among="image")  # type: ignore[arg-type]
    with pytest.raises(earshot.UserError, match="count must be >= 1, got 0"):
        earshot.search(model, shards, images=pixels, count=0)
    bytes_of_the_release = earshot.AudiovisualModel(small_towers(spectrogram=RELEASED_SPECTROGRAMS), model.weights)
    with pytest.raises(
        earshot.UserError, match=r"the spectrograms of .* or earshot\.load\(\.\.\., force=True\) to use"
    ):
        earshot.search(bytes_of_the_release, shards, images=pixels)
    other = write_tiny_shards(tmp_path / "none", {"train": 2}, image_side=40)
    with pytest.raises(earshot.UserError, match=r"splits test of .* contain no pairs"):
        earshot.search(model, other, images=pixels)


def test_an_evaluation_from_python_is_that_of_the_command(
    model: earshot.AudiovisualModel, shards: Path, tmp_path: Path
) -> None:
    metrics = earshot.evaluate(model.weights, shards, tmp_path / "out", crops=2, device="cpu")
    assert metrics == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["gallery_size"], metrics["split"], metrics["crops"]) == (12, "test", 2)
    assert (tmp_path / "out" / "report.html").is_file()
    with pytest.raises(earshot.UserError, match="precision must be one of fp32, bf16, auto, got 'fp8'"):
        earshot.evaluate(model.weights, shards, tmp_path / "out", precision="fp8")  # type: ignore[arg-type]
