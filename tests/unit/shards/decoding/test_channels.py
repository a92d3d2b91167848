"""How channels become one: opposite phase, ambisonics, integer scales, clipping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from shards.decoding.audio_decoding import decode_recording
from shards.decoding.channels import Levels
from shards.errors import RejectedPair
from shards.schema import SpectrogramSettings

SETTINGS = SpectrogramSettings()
RATE_HZ = 16_000


def noise(channels: int, seconds: float = 4.0, level: float = 0.1) -> np.ndarray:
    shape = (round(seconds * RATE_HZ), channels)
    return (level * np.random.default_rng(1).standard_normal(shape)).astype(np.float32)


def write(path: Path, samples: np.ndarray, subtype: str = "FLOAT") -> Path:
    soundfile.write(path, samples, RATE_HZ, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("num_channels", "option", "expected", "words"),
    [
        (1, "auto", [0], "mono"),
        (2, "auto", [0, 1], "mean of 2"),
        (3, "auto", [0, 1, 2], "mean of 3"),
        (4, "auto", [0], "1 of 4"),
        (9, "auto", [0], "1 of 9"),
        (4, "mean", [0, 1, 2, 3], "mean of 4"),
        (4, "3", [2], "3 of 4"),
        (2, "2", [1], "2 of 2"),
    ],
)
def test_channels_that_are_used(
    tmp_path: Path, num_channels: int, option: str, expected: list[int], words: str
) -> None:
    samples = noise(num_channels)
    recording = decode_recording(write(tmp_path / "a.wav", samples), SETTINGS, channels=option)
    np.testing.assert_allclose(recording.preview, samples[:, expected].mean(axis=1), atol=1e-6)
    assert recording.counts.channels == words
    assert recording.counts.is_one_of_many is (num_channels >= 4 and option != "mean")


def test_a_channel_that_is_missing_is_a_rejection(tmp_path: Path) -> None:
    with pytest.raises(RejectedPair, match=r"missing channel: a\.wav: channel 3 of 2"):
        decode_recording(write(tmp_path / "a.wav", noise(2)), SETTINGS, channels="3")


@pytest.mark.parametrize("option", ["0", "-1", "first", "1.5", ""])
def test_other_options_are_refused(tmp_path: Path, option: str) -> None:
    with pytest.raises(ValueError, match="channels must be auto, mean or the number of a channel"):
        decode_recording(tmp_path / "a.wav", SETTINGS, channels=option)


@pytest.mark.parametrize("louder", [0, 1])
def test_opposite_channels_don_t_cancel(tmp_path: Path, louder: int) -> None:
    one = noise(1)[:, 0]
    samples = np.stack([one, -one], axis=1)
    samples[:, louder] *= 1.2
    samples += 0.2  # a constant offset is no correlation
    recording = decode_recording(write(tmp_path / "a.wav", samples), SETTINGS)
    assert np.array_equal(recording.preview, samples[:, louder])
    assert recording.counts.is_opposite_phase
    assert recording.counts.channels == f"{louder + 1} of 2, opposite phase"
    assert not recording.is_silent


def test_channels_that_differ_are_averaged(tmp_path: Path) -> None:
    one, other = noise(2).T
    samples = np.stack([one, -0.8 * one + 0.6 * other], axis=1)  # a correlation of -0.8
    recording = decode_recording(write(tmp_path / "a.wav", samples), SETTINGS)
    assert recording.counts.channels == "mean of 2"
    np.testing.assert_allclose(recording.preview, samples.mean(axis=1), atol=1e-6)


def test_correlation_equals_numpy_s_whatever_the_blocks() -> None:
    samples = noise(2).T + np.float32(0.3)
    samples[1] = -0.7 * samples[0] + 0.1 * samples[1]
    levels = Levels(2)
    for start in range(0, samples.shape[1], 999):
        levels.add(samples[:, start : start + 999])
    assert levels.correlation == pytest.approx(np.corrcoef(samples)[0, 1], abs=1e-5)


@pytest.mark.parametrize("full_scale", [2**15, 2**23, 2**31])
def test_floats_on_an_integer_scale_are_divided(tmp_path: Path, full_scale: int) -> None:
    samples = np.clip(noise(2, level=0.2), -0.99, 0.99)
    samples[100] = 0.99
    expected = decode_recording(write(tmp_path / "a.wav", samples), SETTINGS)
    recording = decode_recording(write(tmp_path / "b.wav", samples * full_scale), SETTINGS)
    assert np.array_equal(recording.spectrogram, expected.spectrogram)
    assert recording.counts.is_integer_scale
    assert not expected.counts.is_integer_scale
    assert recording.counts.num_clipped == 0


def test_floats_beyond_all_scales_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RejectedPair, match=r"samples reach .*e\+12, on no scale of 16, 24 or 32 bits"):
        decode_recording(write(tmp_path / "a.wav", noise(1) * 1e13), SETTINGS)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_clipped_and_silent_shares(tmp_path: Path, subtype: str) -> None:
    samples = np.zeros((8 * 16_384, 1), np.float32)
    samples[: 2 * 16_384 : 2] = 0.5
    samples[100:300] = 1.0
    recording = decode_recording(write(tmp_path / "a.wav", samples, subtype), SETTINGS)
    assert recording.counts.num_clipped == 200
    assert recording.counts.clipped_share == pytest.approx(200 / len(samples))
    assert recording.counts.silent_share == pytest.approx(6 / 8, abs=0.01)
    assert not recording.is_silent
