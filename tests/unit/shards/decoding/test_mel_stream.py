"""Front ends of pre-trained sound encoders: against torch.stft on the whole waveform, and however sound is cut."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.decoding.audio_decoding import spectrogram_stream
from shards.decoding.mel_stream import MelStream
from shards.decoding.spectrogram import SpectrogramStream, encode_scale
from shards.front_ends import AUDIOSET_32K, EARSHOT_16K, FRONT_ENDS, front_end_name
from shards.schema import SpectrogramSettings


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def efficientat(waveform: np.ndarray) -> np.ndarray:
    """EfficientAT's log-mel before its normalisation, from the facts that its authors state: (frames, 128)."""
    samples = torch.from_numpy(waveform)
    emphasised = samples[1:] - 0.97 * samples[:-1]
    window = torch.hann_window(800, periodic=False)
    spectrum = torch.stft(emphasised, 1024, 320, 800, window, center=True, return_complex=True)
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(128, 1024, 32_000, 0.0, 15_000.0, 100.0, -500.0, 1.0)
    banks = torch.nn.functional.pad(banks, (0, 1))
    return torch.log(banks @ spectrum.abs() ** 2 + 1e-5).T.numpy()


def values_of(waveform: np.ndarray, settings: SpectrogramSettings = AUDIOSET_32K) -> np.ndarray:
    stream = MelStream(settings)
    return np.concatenate([stream.push_values(waveform), stream.finish_values()])


@pytest.mark.parametrize("num_samples", [514, 800, 20_480, 20_481, 65_537, 100_000])
def test_values_are_those_of_the_published_front_end(num_samples: int) -> None:
    waveform = noise(num_samples)
    expected = efficientat(waveform)
    assert len(expected) == 1 + (num_samples - 1) // 320
    np.testing.assert_allclose(values_of(waveform), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "change",
    [
        {"hop_samples": 321},
        {"pre_emphasis": 0.95},
        {"high_hz": 14_000.0},
        {"low_hz": 50.0},
        {"window_samples": 790},
        {"added_power": 1e-4},
    ],
)
def test_another_front_end_has_other_values(change: dict[str, float]) -> None:
    changed = values_of(noise(20_000), dataclasses.replace(AUDIOSET_32K, **change))
    expected = efficientat(noise(20_000))[: len(changed)]
    assert np.abs(changed[: len(expected)] - expected).max() > 1e-2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30_000), max_size=6), st.integers(0, 3))
def test_any_cut_gives_the_same_bytes(lengths: list[int], seed: int) -> None:
    waveform = noise(sum(lengths), seed)
    pieces = np.split(waveform, np.cumsum(lengths)[:-1]) if lengths else []
    cut, whole = MelStream(AUDIOSET_32K), MelStream(AUDIOSET_32K)
    found = np.concatenate([*(cut.push(piece) for piece in pieces), cut.finish()], axis=1)
    assert np.array_equal(found, np.concatenate([whole.push(waveform), whole.finish()], axis=1))
    assert found.shape[1] == (1 + (len(waveform) - 1) // 320 if len(waveform) >= whole.min_samples else 0)


def test_a_stream_starts_afresh_after_its_end() -> None:
    stream = MelStream(AUDIOSET_32K)
    first = np.concatenate([stream.push(noise(5000)), stream.finish()], axis=1)
    assert stream.finish().shape == (128, 0)
    assert np.array_equal(np.concatenate([stream.push(noise(5000)), stream.finish()], axis=1), first)


def test_bytes_are_on_the_scale_of_the_front_end() -> None:
    waveform = noise(40_000)
    stream = MelStream(AUDIOSET_32K)
    stored = np.concatenate([stream.push(waveform), stream.finish()], axis=1)
    assert np.array_equal(stored, encode_scale(efficientat(waveform), AUDIOSET_32K.scale).T)
    # Silence is near the lowest byte, and a full-scale tone near the highest.
    assert MelStream(AUDIOSET_32K).push(np.zeros(60_000, np.float32)).max() == 0
    tone = np.sin(2 * np.pi * 11_000 * np.arange(60_000) / 32_000).astype(np.float32)
    assert 250 <= MelStream(AUDIOSET_32K).push(tone).max() <= 255
    assert AUDIOSET_32K.scale.low < math.log(1e-5)


def test_settings_choose_the_stream() -> None:
    assert isinstance(spectrogram_stream(EARSHOT_16K), SpectrogramStream)
    assert isinstance(spectrogram_stream(AUDIOSET_32K), MelStream)
    with pytest.raises(ValueError, match="is_centred must be False"):
        SpectrogramStream(dataclasses.replace(EARSHOT_16K, is_centred=True))
    with pytest.raises(ValueError, match="needs window, hop and Fourier transform"):
        MelStream(EARSHOT_16K)
    with pytest.raises(ValueError, match="must be 'hann-symmetric', 'kaldi', True"):
        MelStream(dataclasses.replace(AUDIOSET_32K, mel_scale="htk"))


def test_every_front_end_has_its_name_and_survives_a_manifest() -> None:
    for name in FRONT_ENDS:
        known = FRONT_ENDS.load(name)
        assert front_end_name(known) == name
        assert SpectrogramSettings.from_dict(known.to_dict()) == known
    assert front_end_name(dataclasses.replace(AUDIOSET_32K, hop_samples=160)) is None
    assert "is_centred" not in EARSHOT_16K.to_dict()
