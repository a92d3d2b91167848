"""The released `earshot_towers.py`: it prepares images and sounds as Earshot does, and is left out where it can't."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from released_runs import WIDE, small_towers

from pretrain.data.image_transforms import evaluation_image
from pretrain.model_config import TwoTowerConfig, preprocessing
from pretrain.releasing import standalone
from pretrain.releasing.standalone.earshot_towers import Towers
from pretrain.releasing.standalone_files import is_plain, why_no_standalone
from shards.decoding.imagery import stored_image
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.front_ends import FRONT_ENDS

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


def test_released_files_import_nothing_of_earshot() -> None:
    for path in Path(str(standalone.__file__)).parent.glob("earshot_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
            assert not {"shards", "pretrain", "retrieval", "launch"} & {name.split(".")[0] for name in modules}


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
