"""Scalogram and mel features against a literal discrete Fourier transform and literal filters."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from downstream.tau import acoustic_features
from downstream.tau.acoustic_features import (
    FRAMES_OF_CLIP,
    FRAMES_OF_SECOND,
    AcousticFeatures,
    read_channels,
    second_of_frame,
)
from downstream.tau.wavelets import centre_frequencies, morlet_bank
from shards.decoding.mel_filters import mel_filters
from shards.errors import RejectedPair

RATE, WINDOW, HOP = 16_000, 8192, 2736
ROOT = Path(__file__).parents[4]


def literal_gain(centre_hz: float, bin_hz: float) -> float:
    """A Morlet filter's gain before its gains are brought to the sum 1, from its definition."""
    ratio = (8000 / 20) ** (1 / 289)
    width = max(centre_hz * (ratio - 1) / ((ratio + 1) * math.sqrt(math.log(2))), RATE / WINDOW)
    bump = math.exp(-((bin_hz - centre_hz) ** 2) / (2 * width**2))
    return bump - math.exp(-(centre_hz**2) / (2 * width**2)) * math.exp(-(bin_hz**2) / (2 * width**2))


@pytest.mark.parametrize("number", [0, 77, 200, 289])
def test_filters_are_those_of_the_definition(number: int) -> None:
    bank = morlet_bank(RATE, WINDOW)
    centre = 20 * (8000 / 20) ** (number / 289)
    gains = [literal_gain(centre, k * RATE / WINDOW) for k in range(WINDOW // 2 + 1)]
    assert bank.shape == (4097, 290)
    np.testing.assert_allclose(bank[:, number], np.array(gains) / sum(gains), atol=1e-12)


def test_a_constant_gives_nothing_and_neighbours_cross_at_half_power() -> None:
    bank, centres = morlet_bank(RATE, WINDOW), centre_frequencies()
    assert np.abs(bank[0]).max() < 1e-12
    assert bank.min() >= 0
    crossing = 2 * centres[150] * centres[151] / (centres[150] + centres[151])
    for centre in centres[150:152]:
        assert literal_gain(centre, crossing) == pytest.approx(math.sqrt(0.5))
    # From where a filter is wider than a bin, the quality factor is constant.
    ratio = (8000 / 20) ** (1 / 289)
    quality = (ratio + 1) * math.sqrt(math.log(2)) / (ratio - 1)
    assert quality * RATE / WINDOW == pytest.approx(157, abs=0.5)


def test_the_lowest_hundred_filters_are_one_bin_wide_and_share_70_bins() -> None:
    bank, centres, bin_hz = morlet_bank(RATE, WINDOW), centre_frequencies(), RATE / WINDOW
    # The width of each filter, from its gains.
    hz = np.arange(len(bank)) * bin_hz
    means = hz @ bank
    widths = np.sqrt(np.array([((hz - mean) ** 2) @ bank[:, k] for k, mean in enumerate(means)]))
    narrow = [k for k in range(290) if widths[k] < bin_hz * 1.001]
    assert narrow == list(range(100))
    assert centres[99] < 157 < centres[100]
    np.testing.assert_allclose(widths[5:100], bin_hz, rtol=0.01)
    ratio = (8000 / 20) ** (1 / 289)
    quality = (ratio + 1) * math.sqrt(math.log(2)) / (ratio - 1)
    # The spectrum's end cuts the last two.
    np.testing.assert_allclose(centres[100:288] / widths[100:288], quality, rtol=0.01)
    assert (centres[0] / bin_hz, centres[99] / bin_hz) == pytest.approx((10, 80), abs=0.5)
    assert (centres[1] - centres[0], centres[99] - centres[98]) == pytest.approx((0.4, 3.2), abs=0.05)
    assert np.linalg.matrix_rank(bank[:, :100]) == 70
    for text in (morlet_bank.__doc__, (ROOT / "downstream" / "README.md").read_text(encoding="utf-8")):
        words = " ".join(str(text).split())
        assert "lowest 100" in words
        assert "same 70 bins" in words


@pytest.mark.parametrize("kind", ["scalogram", "fbank"])
def test_a_frame_is_the_log_of_filtered_magnitudes(kind: str) -> None:
    channels = np.random.default_rng(0).normal(0, 0.1, (2, WINDOW + 2 * HOP + 5)).astype(np.float32)
    found = AcousticFeatures(kind)(channels)
    bank = morlet_bank(RATE, WINDOW) if kind == "scalogram" else mel_filters(RATE, WINDOW, 256)
    assert found.shape == (3, 2, bank.shape[1])
    assert found.dtype == np.float32
    samples = channels[1, HOP : HOP + WINDOW].astype(np.float64)
    places = np.arange(WINDOW)
    hann = np.sin(np.pi * places / WINDOW) ** 2
    for band in (60, 130, 200):
        # The transform's definition, at the few bins that the filter sees.
        bins = np.flatnonzero(bank[:, band] > 1e-6 * bank[:, band].max())
        total = sum(
            bank[k, band] * abs(sum(samples * hann * np.exp(-2j * np.pi * k * places / WINDOW))) for k in bins[::1]
        )
        assert found[1, 1, band] == pytest.approx(math.log(total), abs=1e-3)


def test_a_tone_peaks_in_its_band_and_silence_is_finite() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(WINDOW) / RATE).astype(np.float32)
    frames = AcousticFeatures("scalogram")(np.stack([tone, np.zeros_like(tone)]))
    assert centre_frequencies()[frames[0, 0].argmax()] == pytest.approx(1000, rel=0.011)
    assert frames[0, 1] == pytest.approx(math.log(1e-4))


def test_frames_of_a_clip_and_of_its_seconds() -> None:
    channels = np.random.default_rng(1).normal(0, 0.1, (2, 10 * RATE)).astype(np.float32)
    features = AcousticFeatures("fbank")
    frames = features.of_clip(channels)
    assert (FRAMES_OF_CLIP, FRAMES_OF_SECOND) == (56, 3)
    assert frames.shape == (56 + 30, 2, 256)
    np.testing.assert_array_equal(frames[56 + 3 * 4 : 56 + 3 * 5], features(channels[:, 4 * RATE : 5 * RATE]))
    # Windows of 512 ms every 171 ms: the middle of frame 4 is at 0.94 s, that of frame 5 at 1.111 s.
    assert [second_of_frame(frame) for frame in (0, 4, 5, 55)] == [0, 0, 1, 9]


def write(path: Path, waveform: np.ndarray, rate: int = 48_000) -> Path:
    soundfile.write(path, waveform, rate, subtype="FLOAT")
    return path


def test_channels_are_average_and_difference(tmp_path: Path) -> None:
    time = np.arange(10 * 48_000) / 48_000
    left, right = 0.5 * np.sin(2 * np.pi * 200 * time), 0.2 * np.sin(2 * np.pi * 300 * time)
    average, difference = read_channels(write(tmp_path / "clip.wav", np.stack([left, right], 1)))
    middle = slice(RATE, 9 * RATE)
    np.testing.assert_allclose(average[middle], ((left + right) / 2)[::3][middle], atol=1e-3)
    np.testing.assert_allclose(difference[middle], (left - right)[::3][middle], atol=1e-3)
    assert len(average) == 10 * RATE


@pytest.mark.parametrize(
    ("waveform", "sentence"),
    [
        (np.zeros((480_000, 1)), "not stereo: clip.wav: 1 channels, average and difference need 2"),
        (np.zeros((300_000, 2)), "ends early: clip.wav: 6.2 s of 10 s"),
        (np.full((480_000, 2), np.nan), "undecodable sound: clip.wav: samples that are not finite"),
    ],
)
def test_sounds_that_are_of_no_use(waveform: np.ndarray, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(RejectedPair) as caught:
        read_channels(write(tmp_path / "clip.wav", waveform))
    assert str(caught.value) == sentence


def test_a_file_that_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_text("no sound")
    with pytest.raises(RejectedPair, match=r"undecodable sound: clip\.wav"):
        read_channels(tmp_path / "clip.wav")
    assert acoustic_features.BANDS == {"scalogram": 290, "fbank": 256}
