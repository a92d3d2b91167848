"""A visitor's own files: what can be asked with, and the sentence where not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import soundfile
import torch
from listening_shards import write_listening_shards, write_tiny_towers
from PIL import Image
from raster_files import write_raster

from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from retrieval.explore import questions
from retrieval.explore.answers import Answerer
from retrieval.explore.atlas import open_atlas
from retrieval.explore.page import ExplorerPage
from retrieval.explore.questions import Questioner
from retrieval.explore.upload_folder import UploadFolder
from shards.errors import UserError
from shards.raster_settings import RasterSettings
from shards.streaming.reading import ShardSet


@pytest.fixture(scope="module")
def questioner(tmp_path_factory: pytest.TempPathFactory) -> Questioner:
    folder = tmp_path_factory.mktemp("questions")
    shards = ShardSet.open(write_listening_shards(folder / "shards", {"val": 6, "test": 20}))
    weights = write_tiny_towers(folder / "model")
    model = TwoTower.from_pretrained(weights)
    atlas = open_atlas(model, weights, shards, splits=("val", "test"), crops=3, folder=folder / "atlas")
    return Questioner(model, weights, atlas, 3)


def test_a_pair_is_asked_by_the_embedding_that_is_kept(questioner: Questioner) -> None:
    question = questioner.of_pair(9, "sound")
    np.testing.assert_array_equal(question.embedding, questioner.atlas.sound_embeddings[9])
    assert question.image is None
    assert question.exhibit.key == questioner.atlas.sample(9).key
    assert question.exhibit.clip.startswith("data:audio/mpeg;base64,")


def test_answers_are_the_nearest_of_the_other_modality(questioner: Questioner) -> None:
    answerer, atlas = Answerer(questioner), questioner.atlas
    for modality, gallery in (("sound", atlas.image_embeddings), ("image", atlas.sound_embeddings)):
        question = questioner.of_pair(7, modality)
        answers = answerer.answer(question, 26)
        distances = [float(np.linalg.norm(gallery[a.number].astype(float) - question.embedding)) for a in answers]
        assert sorted(a.number for a in answers) == list(range(26))
        assert distances == sorted(distances)
        np.testing.assert_allclose([a.distance for a in answers], distances, rtol=1e-6)
        assert [a.number for a in answers if a.is_own] == [7]
        assert all(a.activation.startswith("data:image/jpeg;base64,") for a in answers)


def test_a_model_without_activation_maps_is_asked_all_the_same(questioner: Questioner, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TwoTower(TwoTowerConfig(embedding_dim=16, image_size=32, sound_pooling=4, image_encoder="timm:test_vit"))
    model.eval().save_pretrained(tmp_path / "model")
    shards = questioner.atlas.shard_set
    atlas = open_atlas(model, tmp_path / "model", shards, splits=("val",), crops=1, folder=tmp_path / "atlas")
    answerer = Answerer(Questioner(model, tmp_path / "model", atlas, 1))
    answers = answerer.answer(answerer.questioner.of_pair(2, "sound"), 6)
    assert sorted(answer.number for answer in answers) == list(range(6))
    assert {answer.activation for answer in answers} == {""}
    page = ExplorerPage(answerer.questioner, answerer, None, None, {"weights": "a"}, UploadFolder(tmp_path))
    assert "<dd>none: activation maps need an encoder whose features are the mean" in page.texts.facts(
        page.facts, answerer.why_no_regions
    )
    assert Answerer(questioner).why_no_regions == ""


def test_the_same_image_as_a_file_is_the_same_question(questioner: Questioner, tmp_path: Path) -> None:
    sample = questioner.atlas.sample(4)
    (tmp_path / "own.jpg").write_bytes(sample.image_bytes())
    question = questioner.of_image_file(tmp_path / "own.jpg")
    np.testing.assert_allclose(question.embedding, questioner.atlas.image_embeddings[4], rtol=1e-4, atol=1e-5)
    assert question.number is None
    assert question.exhibit.label == "own.jpg"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_sounds_of_every_kind_are_heard(questioner: Questioner, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"own.{suffix}"
    soundfile.write(path, 0.2 * np.random.default_rng(0).normal(size=(3 * 44_100, 2)).clip(-3, 3), 44_100)
    question = questioner.of_sound_file(path)
    assert question.embedding.shape == (16,)
    assert np.isfinite(question.embedding).all()
    assert question.exhibit.spectrogram
    assert question.exhibit.clip


def test_a_pair_is_found_by_its_key(questioner: Questioner) -> None:
    for number in (0, 5, 6, 25):
        assert questioner.number_of(questioner.atlas.sample(number).key) == number
    with pytest.raises(UserError, match="no pair here has the key '999'"):
        questioner.number_of("999")


def refusal_of_image(questioner: Questioner, path: Path) -> str:
    with pytest.raises(UserError) as caught:
        questioner.of_image_file(path)
    return str(caught.value)


def test_images_that_cannot_be_asked_with(
    questioner: Questioner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.png"
    text.write_text("no image")
    assert "the image can't be used: undecodable image: text.png" in refusal_of_image(questioner, text)
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((8, 8, 3), np.uint8))
    assert "image too small" in refusal_of_image(questioner, small)
    monkeypatch.setattr(questions, "MAX_UPLOAD_PIXELS", 1000)
    fine = tmp_path / "fine.tif"
    cv2.imwrite(str(fine), np.zeros((64, 64, 3), np.uint8))
    assert "64 × 64 pixels, limit 1000" in refusal_of_image(questioner, fine)


def test_files_that_unpack_into_gigabytes_or_run_programs(questioner: Questioner, tmp_path: Path) -> None:
    bands = tmp_path / "bands.tif"
    profile = {"driver": "GTiff", "width": 2000, "height": 2000, "count": 60, "dtype": "uint8"}
    with rasterio.open(bands, "w", compress="deflate", **profile):
        pass
    assert bands.stat().st_size < 2_000_000
    assert "240 MB uncompressed, limit 200 MB" in refusal_of_image(questioner, bands)
    complex_values = tmp_path / "complex.tif"
    profile |= {"width": 64, "height": 64, "count": 3, "dtype": "complex128"}
    with rasterio.open(complex_values, "w", **profile):
        pass
    assert "complex values" in refusal_of_image(questioner, complex_values)
    postscript = tmp_path / "picture.png"
    postscript.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")
    assert "picture.png: not TIFF, JPEG" in refusal_of_image(questioner, postscript)
    icon = tmp_path / "icon.png"
    Image.new("RGB", (64, 64)).save(icon, format="ICO")
    assert "icon.png: not TIFF, JPEG" in refusal_of_image(questioner, icon)


def test_sounds_that_cannot_be_asked_with(questioner: Questioner, tmp_path: Path) -> None:
    text = tmp_path / "text.mp3"
    text.write_text("no sound")
    with pytest.raises(UserError, match=r"the sound can't be used: undecodable sound: text\.mp3"):
        questioner.of_sound_file(text)
    soundfile.write(tmp_path / "short.wav", np.zeros(40), 22_050)
    with pytest.raises(UserError, match="sound too short"):
        questioner.of_sound_file(tmp_path / "short.wav")


def test_a_model_of_unpublished_spectrograms_is_not_asked_with_files(questioner: Questioner, tmp_path: Path) -> None:
    model = TwoTower.from_pretrained(questioner.weights)
    model.config = replace(model.config, spectrogram=replace(model.config.spectrogram, sample_rate_hz=None))
    deaf = Questioner(model, questioner.weights, questioner.atlas, 3)
    assert not deaf.hears_files
    soundfile.write(tmp_path / "own.wav", np.zeros(44_100), 22_050)
    with pytest.raises(UserError, match="settings are not published"):
        deaf.of_sound_file(tmp_path / "own.wav")


def test_a_raster_is_seen_as_the_model_learned_to(questioner: Questioner, tmp_path: Path) -> None:
    levels = np.array([2500, 300, 600, 1800], np.uint16)
    path = write_raster(tmp_path / "a.tif", levels[:, None, None] + np.zeros((4, 64, 64), np.uint16))
    model, before = questioner.model, questioner.model.config
    try:
        model.config = replace(before, rasters=RasterSettings((4, 3, 2), (0.0, 2550.0), "corpus"))
        question = questioner.of_image_file(path)
        assert question.image is not None
        assert (question.image == [180, 60, 30]).all()
        three = write_raster(tmp_path / "b.tif", np.zeros((3, 64, 64), np.uint16))
        with pytest.raises(UserError, match="band 4 of 3"):
            questioner.of_image_file(three)
    finally:
        model.config = before
