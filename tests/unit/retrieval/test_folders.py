"""`embed` on folders of images and of sounds, of which some can't be decoded."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
import torch
from raster_files import write_raster

from pretrain.data.image_transforms import evaluation_image
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from retrieval.folders import embed
from retrieval.options import EmbedOptions
from shards.decoding.audio_decoding import decode_recording
from shards.errors import UserError
from shards.raster_settings import RasterSettings
from shards.schema import SpectrogramSettings
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS
from shards.spectrogram_scales import converted_bytes

CONFIG = TwoTowerConfig(embedding_dim=16, image_size=32, sound_pooling=4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder whose towers were never trained."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model")
    TwoTower(CONFIG).save_pretrained(folder)
    return folder


def test_embeddings_that_are_not_finite_are_not_written(weights: Path, tmp_path: Path) -> None:
    model = TwoTower.from_pretrained(weights)
    with torch.no_grad():
        model.image_tower.projection.bias.fill_(torch.inf)
    model.save_pretrained(tmp_path / "diverged")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 40, 3), np.uint8))
    out = tmp_path / "out" / "images.npz"
    with pytest.raises(UserError, match=r"1 of 1 embeddings are not finite \(a.png\), so the weights have diverged"):
        embed(EmbedOptions(tmp_path / "diverged", out, images=(tmp_path,)))
    assert not out.exists()


def test_images_of_a_folder(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    large = rng.integers(0, 256, (600, 700, 3), dtype=np.uint8)
    cv2.imwrite(str(images / "b.png"), large[..., ::-1])
    cv2.imwrite(str(images / "sub" / "a.tif"), large[:100, :100, ::-1])
    cv2.imwrite(str(images / "cut.jpg"), large)
    (images / "cut.jpg").write_bytes((images / "cut.jpg").read_bytes()[:5000])
    (images / "text.jpeg").write_text("not an image")
    (images / "notes.txt").write_text("ignored")
    out = tmp_path / "out" / "images.npz"
    embed(EmbedOptions(weights, out, images=(images,)))
    arrays = np.load(out, allow_pickle=False)
    assert arrays["names"].tolist() == ["b.png", "sub/a.tif"]
    assert arrays["embeddings"].shape == (2, 16)
    assert arrays["embeddings"].dtype == np.float32
    assert arrays["rejected_names"].tolist() == ["cut.jpg", "text.jpeg"]
    assert [reason.split(":")[0] for reason in arrays["rejected_reasons"]] == ["truncated image", "undecodable image"]
    assert json.loads(str(arrays["provenance"]))["kind"] == "images"
    # A large image goes the way of the shards: its central half first, then the central three quarters of that.
    model = TwoTower.from_pretrained(weights)
    pixels = evaluation_image(large[150:450, 200:500], 32)
    with torch.inference_mode():
        expected = model.encode_image(torch.from_numpy(pixels[None]))[0].numpy()
    assert np.allclose(arrays["embeddings"][0], expected, atol=1e-5)
    printed = capsys.readouterr().out
    assert "2 images embedded" in printed
    assert "2 left out: 1 truncated image, 1 undecodable image" in printed
    assert "cut.jpg" in printed
    assert "1 other files, by their suffix no images: notes.txt" in printed


def test_sounds_of_a_folder(weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    soundfile.write(sounds / "long.flac", rng.normal(0, 0.1, 16_000 * 8), 16_000)
    soundfile.write(sounds / "stereo.wav", rng.normal(0, 0.1, (44_100, 2)), 44_100)
    (sounds / "empty.mp3").write_bytes(b"")
    out = tmp_path / "sounds.npz"
    embedded = embed(EmbedOptions(weights, out, sounds=(sounds,), crops=2))
    assert embedded.names == ["long.flac", "stereo.wav"]
    assert embedded.rejected["empty.mp3"][0] == "undecodable sound"
    spectrogram = decode_recording(
        sounds / "long.flac", SpectrogramSettings(), max_seconds=600, with_preview=False
    ).spectrogram
    crops = np.stack([spectrogram[:, :128], spectrogram[:, -128:]])[:, None]
    with torch.inference_mode():
        expected = TwoTower.from_pretrained(weights).encode_sound(torch.from_numpy(crops)).mean(dim=0).numpy()
    assert np.allclose(embedded.embeddings[0], expected, atol=1e-5)


def test_real_awkward_sounds(weights: Path, tmp_path: Path, real_data: Path) -> None:
    folder = real_data / "awkward_audio"
    embedded = embed(EmbedOptions(weights, tmp_path / "sounds.npz", sounds=(folder,), crops=1))
    assert len(embedded.names) + len(embedded.rejected) == len(list(folder.glob("*.*")))
    assert {name for name in embedded.rejected if "undecodable" in name} == {
        path.name for path in folder.glob("*_undecodable.*")
    }
    assert np.isfinite(embedded.embeddings).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "give either --images PATH or --sounds PATH"),
        ({"images": (Path("a"),), "sounds": (Path("b"),)}, "give either --images PATH or --sounds PATH"),
        ({"images": (Path("a"),), "crops": 0}, "crops must be >= 1, got 0"),
        (
            {"images": (Path("a"),), "out": Path("x.npy")},
            r"out must be a file that ends in .npz, .csv, .parquet, got x.npy",
        ),
        ({"images": (Path("nowhere"),)}, "no images at nowhere: no such file or folder"),
        ({"weights": Path("nowhere"), "images": (Path("a"),)}, "no weights at nowhere"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], message: str, weights: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(EmbedOptions(weights, tmp_path / "out.npz"), **change)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        embed(options)


def test_a_folder_must_hold_something_decodable(weights: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "out.npz", tmp_path / "images"
    folder.mkdir()
    with pytest.raises(UserError, match=r"none of its files ends in \.jpg"):
        embed(EmbedOptions(weights, out, images=(folder,)))
    (folder / "a.jpg").write_text("text")
    with pytest.raises(UserError, match=r"none of the 1 images in .* could be decoded; first error: undecodable image"):
        embed(EmbedOptions(weights, out, images=(folder,)))
    assert not out.exists()


def test_sounds_need_published_spectrogram_settings(tmp_path: Path) -> None:
    unknown = SpectrogramSettings(sample_rate_hz=None, window_samples=None, hop_samples=None, mel_scale=None)
    TwoTower(dataclasses.replace(CONFIG, spectrogram=unknown)).save_pretrained(tmp_path / "model")
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "a.wav", np.zeros(16_000), 16_000)
    with pytest.raises(UserError, match="not published"):
        embed(EmbedOptions(tmp_path / "model", tmp_path / "out.npz", sounds=(tmp_path / "sounds",)))
    with pytest.raises(UserError, match="--force has no effect on --images"):
        EmbedOptions(tmp_path / "model", tmp_path / "out.npz", images=(tmp_path,), force=True).check()


def test_forced_sounds_have_their_scale_converted(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, spectrogram=RELEASED_SPECTROGRAMS)
    torch.manual_seed(0)
    model = TwoTower(config).eval()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "sounds").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 128 * 400 + 624)
    soundfile.write(tmp_path / "sounds" / "a.wav", noise, 16_000)
    options = EmbedOptions(tmp_path / "model", tmp_path / "out.npz", sounds=(tmp_path / "sounds",), crops=1, force=True)
    found = embed(options).embeddings[0]
    ours = decode_recording(tmp_path / "sounds" / "a.wav", SpectrogramSettings()).spectrogram
    meant = converted_bytes(SpectrogramSettings().scale, RELEASED_SPECTROGRAMS.scale)[ours[:, :128]]
    with torch.inference_mode():
        standardised = torch.from_numpy(meant - config.spectrogram_mean)[None, None] / config.spectrogram_std
        expected = model.encode_sound(standardised.float())[0]
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)


def test_rasters_are_seen_in_the_bands_and_scale_that_the_model_learned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    rasters = RasterSettings((4, 3, 2), (0.0, 2550.0), "corpus")
    model = TwoTower(dataclasses.replace(CONFIG, rasters=rasters))
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "images").mkdir()
    levels = np.array([2500, 300, 600, 1800], np.uint16)
    write_raster(tmp_path / "images" / "a.tif", levels[:, None, None] + np.zeros((4, 64, 64), np.uint16))
    write_raster(tmp_path / "images" / "b.tif", np.zeros((3, 64, 64), np.uint16))
    embedded = embed(EmbedOptions(tmp_path / "model", tmp_path / "out.npz", images=(tmp_path / "images",)))
    assert embedded.names == ["a.tif"]
    assert embedded.rejected["b.tif"][0] == "missing image band"
    assert "band 4 of 3; red, green and blue are the bands 4, 3, 2" in embedded.rejected["b.tif"][1]
    pixels = np.broadcast_to(np.array([180, 60, 30], np.uint8)[:, None, None], (1, 3, 32, 32))
    with torch.inference_mode():
        expected = model.eval().encode_image(torch.from_numpy(pixels.copy()))[0].numpy()
    assert np.allclose(embedded.embeddings[0], expected, atol=1e-5)
    # Other bands can be chosen for files that hold theirs in another order.
    chosen = embed(EmbedOptions(tmp_path / "model", tmp_path / "b.npz", images=(tmp_path / "images",), bands=(2, 3, 1)))
    assert chosen.names == ["a.tif", "b.tif"]
    pixels = np.broadcast_to(np.array([30, 60, 250], np.uint8)[:, None, None], (1, 3, 32, 32))
    with torch.inference_mode():
        expected = model.encode_image(torch.from_numpy(pixels.copy()))[0].numpy()
    assert np.allclose(chosen.embeddings[0], expected, atol=1e-5)
    with pytest.raises(UserError, match="bands must be >= 1, got 0"):
        EmbedOptions(tmp_path / "model", tmp_path / "b.npz", images=(tmp_path / "images",), bands=(0, 1, 2)).check()
    with pytest.raises(UserError, match="--bands has no effect on --sounds"):
        EmbedOptions(tmp_path / "model", tmp_path / "b.npz", sounds=(tmp_path / "images",), bands=(1, 1, 2)).check()
