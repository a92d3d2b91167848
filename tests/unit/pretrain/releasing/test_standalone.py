"""The released `earshot_towers.py` and `earshot_inputs.py`: they prepare files as Earshot does, where they can."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from released_runs import WIDE, small_towers

from pretrain.data.image_transforms import evaluation_image
from pretrain.model_config import TwoTowerConfig, preprocessing
from pretrain.releasing import standalone
from pretrain.releasing.card_loading import _onnx
from pretrain.releasing.standalone.earshot_inputs import Inputs
from pretrain.releasing.standalone.earshot_towers import Towers
from pretrain.releasing.standalone_files import is_plain, why_no_standalone
from retrieval.file_embedding import stored_part_of
from retrieval.file_inputs import SoundInput
from shards.decoding.imagery import stored_image
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.front_ends import FRONT_ENDS
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS

PLAIN = ("earshot-16k", "earshot-48k", "clap-48k")


def prepared_by(config: TwoTowerConfig) -> Towers:
    """A `Towers` without networks: only what prepares inputs."""
    towers = Towers.__new__(Towers)
    torch.nn.Module.__init__(towers)
    described = preprocessing(config)
    towers.image, towers.sound, towers.crops = described["image"], described["sound"], 3
    from pretrain.releasing.standalone import earshot_towers

    towers.window, towers.filters = earshot_towers._window(towers.sound), earshot_towers._mel_filters(towers.sound)
    return towers


@pytest.mark.parametrize("shape", [(300, 200), (96, 128), (40, 50), (1100, 1200)])
def test_images_are_cut_and_resized_as_earshot_does(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (shape[0] // 10 + 1, shape[1] // 10 + 1, 3)), np.ones((10, 10, 1)))
    picture = picture[: shape[0], : shape[1]].astype(np.uint8)
    ours = evaluation_image(stored_image(picture), 64)
    theirs = prepared_by(TwoTowerConfig(image_size=64)).image_pixels(picture).numpy()
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("name", PLAIN)
def test_spectrograms_are_those_of_the_front_end(name: str) -> None:
    settings = FRONT_ENDS.load(name)
    assert is_plain(settings)
    config = TwoTowerConfig(spectrogram=settings, num_frames=100)
    rate = settings.sample_rate_hz
    assert rate is not None
    rng = np.random.default_rng(0)
    wave = (np.sin(np.arange(3 * rate) * 0.05) * 0.3 + rng.normal(0, 0.01, 3 * rate)).astype(np.float32)
    stream = SpectrogramStream(settings)
    ours = np.concatenate([stream.push(wave), stream.finish()], axis=1)
    theirs = prepared_by(config)._spectrogram(torch.from_numpy(wave)).numpy()
    assert ours.shape == theirs.shape
    different = np.abs(ours.astype(int) - theirs)
    assert different.max() <= 1
    assert (different > 0).mean() < 0.01
    crops = prepared_by(config).sound_crops(np.stack([wave, wave], axis=1), rate)
    assert crops.shape == (3, 1, settings.mel_bands, 100)
    short = prepared_by(config).sound_crops(wave[: rate // 10], rate)
    assert short.shape == (1, 1, settings.mel_bands, 100)


def test_where_it_is_left_out_the_reason_is_said() -> None:
    assert why_no_standalone(small_towers()) is None
    assert "no network for the image encoder soundingearth-resnet18" in str(why_no_standalone(small_towers(**WIDE)))
    kaldi = small_towers(spectrogram=FRONT_ENDS.load("audioset-32k"))
    assert "Slaney's mel scale" in str(why_no_standalone(kaldi))
    with pytest.raises(ValueError, match="computed by Earshot alone"):
        prepared_by(kaldi.config)


def inputs_by(config: TwoTowerConfig, folder: Path, crops: int = 3) -> Inputs:
    """The inputs of the ONNX files of a release with this config."""
    (folder / "config.json").write_text(json.dumps({"preprocessing": preprocessing(config)}))
    return Inputs(folder, crops)


@pytest.mark.parametrize("shape", [(300, 200), (96, 128), (40, 50), (1100, 1200)])
def test_pictures_become_the_inputs_of_onnx_as_earshot_does(shape: tuple[int, int], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (shape[0] // 10 + 1, shape[1] // 10 + 1, 3)), np.ones((10, 10, 1)))
    picture = picture[: shape[0], : shape[1]].astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "tile.png")
    ours = evaluation_image(stored_image(picture), 64)
    theirs = inputs_by(TwoTowerConfig(image_size=64), tmp_path).image(tmp_path / "tile.png")
    assert theirs.shape == (1, 3, 64, 64)
    assert np.abs(ours.astype(int) - theirs[0]).max() <= 1
    half = np.full((50, 50, 4), (200, 100, 50, 128), np.uint8)
    Image.fromarray(half).save(tmp_path / "half.png")
    ours = stored_part_of(tmp_path / "half.png", TwoTowerConfig().rasters)[25, 25]
    theirs = inputs_by(TwoTowerConfig(image_size=64), tmp_path).image(tmp_path / "half.png")
    assert np.abs(ours.astype(int) - theirs[0, :, 32, 32]).max() <= 1


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("name", PLAIN)
def test_recordings_become_the_inputs_of_onnx_as_earshot_does(name: str, rate: int, tmp_path: Path) -> None:
    config = TwoTowerConfig(spectrogram=FRONT_ENDS.load(name), num_frames=128)
    rng = np.random.default_rng(0)
    wave = (np.sin(np.arange(4 * rate) * 0.05) * 0.3 + rng.normal(0, 0.01, 4 * rate)).astype(np.float32)
    for number, samples in enumerate((np.stack([wave, 0.5 * wave], axis=1), wave[: rate // 10])):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        ours = SoundInput(config.spectrogram, 128, 3, 600.0)(path)
        theirs = inputs_by(config, tmp_path).sound(path)
        assert ours.shape == theirs.shape == (1 if number else 3, 1, config.spectrogram.mel_bands, 128)
        different = np.abs(ours.astype(int) - theirs)
        assert different.max() <= 1
        assert (different > 0).mean() < 0.01


def test_inputs_of_other_front_ends_are_left_to_earshot(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(32_000, np.float32), 16_000)
    for settings in (FRONT_ENDS.load("audioset-32k"), RELEASED_SPECTROGRAMS):
        config = TwoTowerConfig(spectrogram=settings)
        with pytest.raises(ValueError, match="computed by Earshot alone"):
            inputs_by(config, tmp_path).sound(tmp_path / "a.wav")
        card = _onnx("out", config)
        assert "inputs.sound" not in card
        assert 'inputs.image("tile.jpg")' in card
        known = settings.is_published
        assert ("sound_transform(" in card, "is not published" in card) == (known, not known)


def test_released_files_import_nothing_of_earshot() -> None:
    for path in Path(str(standalone.__file__)).parent.glob("earshot_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            forbidden = {"shards", "pretrain", "retrieval", "launch", *(["torch"] if "inputs" in path.name else [])}
            assert not forbidden & {name.split(".")[0] for name in modules}


def test_waveforms_are_taken_as_earshot_takes_them() -> None:
    config = TwoTowerConfig()
    prepared = prepared_by(config)
    rate = 16_000
    rng = np.random.default_rng(1)
    left, right = (rng.uniform(-0.5, 0.5, 3 * rate).astype(np.float32) for _ in range(2))
    mono = prepared.sound_crops((left + right) / 2, rate)
    stereo = np.stack([left, right], axis=1)
    assert torch.equal(prepared.sound_crops(stereo, rate), mono)
    assert torch.equal(prepared.sound_crops(torch.from_numpy(stereo.T), rate), mono)
    whole = (32_768 * left).round().astype(np.int16)
    assert torch.equal(prepared.sound_crops(whole, rate), prepared.sound_crops(whole / np.float32(32_768), rate))
    with pytest.raises(
        ValueError, match=r"has shape \(2, 48000\), but an array must be \(samples,\) or \(samples, channels\)"
    ):
        prepared.sound_crops(stereo.T, rate)
    with pytest.raises(TypeError, match=r"floats of full scale 1, int16 or int32, got torch\.uint8"):
        prepared.sound_crops(np.zeros(rate, np.uint8), rate)
