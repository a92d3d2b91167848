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
from transformers import ASTFeatureExtractor, ClapFeatureExtractor

from shards.decoding.spectrogram import encode_scale
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.front_ends import AST_16K, AUDIOSET_32K, CLAP_48K, EARSHOT_16K, FRONT_ENDS, front_end_name
from shards.records import typed
from shards.schema import SpectrogramSettings


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


def efficientat(waveform: np.ndarray) -> np.ndarray:
    """EfficientAT's log-mel before its normalisation, from the facts that its authors state: (frames, 128)."""
    samples = torch.from_numpy(waveform)
    emphasised = (samples[1:] - 0.97 * samples[:-1]).double()
    window = torch.hann_window(800, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(emphasised, 1024, 320, 800, window, center=True, return_complex=True)
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(128, 1024, 32_000, 0.0, 15_000.0, 100.0, -500.0, 1.0)
    banks = torch.nn.functional.pad(banks, (0, 1)).double()
    return torch.log(banks @ spectrum.abs() ** 2 + 1e-5).T.numpy()


def spectrogram_transformer(waveform: np.ndarray) -> np.ndarray:
    """AST's log-mel as transformers computes it, before its normalisation: (frames, 128)."""
    frames = 1 + (len(waveform) - 400) // 160
    extract = ASTFeatureExtractor(do_normalize=False, max_length=frames)
    return np.asarray(extract(waveform, sampling_rate=16_000, return_tensors="np")["input_values"])[0]


def clap(waveform: np.ndarray) -> np.ndarray:
    """CLAP's log-mel as transformers computes it, as a natural logarithm: (frames, 64)."""
    extract = ClapFeatureExtractor(
        frequency_min=50, truncation="rand_trunc", padding="pad", max_length_s=len(waveform) / 48_000
    )
    extract.nb_max_samples = len(waveform)
    decibels = extract(waveform, sampling_rate=48_000, return_tensors="np")["input_features"]
    return np.asarray(decibels)[0, 0] * math.log(10) / 10


PUBLISHED = {
    "audioset-32k": (AUDIOSET_32K, efficientat),
    "ast-16k": (AST_16K, spectrogram_transformer),
    "clap-48k": (CLAP_48K, clap),
}


def values_of(waveform: np.ndarray, settings: SpectrogramSettings = AUDIOSET_32K) -> np.ndarray:
    stream = SpectrogramStream(settings)
    return np.concatenate([stream.push_values(waveform), stream.finish_values()])


@pytest.mark.parametrize("num_samples", [514, 800, 20_480, 20_481, 65_537, 100_000])
@pytest.mark.parametrize("name", PUBLISHED)
def test_values_are_those_of_the_published_front_end(name: str, num_samples: int) -> None:
    settings, published = PUBLISHED[name]
    waveform = noise(num_samples)
    expected = published(waveform)
    assert len(expected) > 0
    # transformers computes AST's in float32, which is off where bands are nearly empty.
    np.testing.assert_allclose(
        values_of(waveform, settings), expected, rtol=0, atol=1e-3 if name == "ast-16k" else 1e-5
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_silence_has_the_value_of_the_published_front_end(name: str) -> None:
    settings, published = PUBLISHED[name]
    silence = np.zeros(48_000, np.float32)
    np.testing.assert_allclose(values_of(silence, settings), published(silence), rtol=0, atol=1e-5)
    stream = SpectrogramStream(settings)
    assert np.concatenate([stream.push(silence), stream.finish()], axis=1).max() <= 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("audioset-32k", {"hop_samples": 321}),
        ("audioset-32k", {"pre_emphasis": 0.95}),
        ("audioset-32k", {"high_hz": 14_000.0}),
        ("audioset-32k", {"low_hz": 50.0}),
        ("audioset-32k", {"window_samples": 790}),
        ("audioset-32k", {"window": "hann-periodic", "window_samples": 798}),
        ("audioset-32k", {"added_power": 1e-4}),
        ("ast-16k", {"pre_emphasis_of": "waveform"}),
        ("ast-16k", {"pre_emphasis": 0.9}),
        ("ast-16k", {"low_hz": 0.0}),
        ("ast-16k", {"smallest_power": 1e-3}),
        ("clap-48k", {"mel_norm": "peak"}),
        ("clap-48k", {"low_hz": 0.0}),
        ("clap-48k", {"window": "hann-normalised"}),
        ("clap-48k", {"hop_samples": 481}),
    ],
)
def test_another_front_end_has_other_values(name: str, change: dict[str, float]) -> None:
    settings, published = PUBLISHED[name]
    changed = values_of(noise(20_000), dataclasses.replace(settings, **change))
    expected = published(noise(20_000))[: len(changed)]
    assert np.abs(changed[: len(expected)] - expected).max() > 1e-2


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(FRONT_ENDS)), st.lists(st.integers(0, 30_000), max_size=6), st.integers(0, 3))
def test_any_cut_gives_the_same_bytes(name: str, lengths: list[int], seed: int) -> None:
    settings = FRONT_ENDS.load(name)
    waveform = noise(sum(lengths), seed)
    pieces = np.split(waveform, np.cumsum(lengths)[:-1]) if lengths else []
    cut, whole = SpectrogramStream(settings), SpectrogramStream(settings)
    found = np.concatenate([*(cut.push(piece) for piece in pieces), cut.finish()], axis=1)
    assert np.array_equal(found, np.concatenate([whole.push(waveform), whole.finish()], axis=1))
    if len(waveform) < whole.min_samples:
        assert found.shape[1] == 0
    elif settings.is_centred:
        assert found.shape[1] == 1 + (len(waveform) - (settings.pre_emphasis > 0)) // settings.hop_samples
    else:
        assert found.shape[1] == 1 + (len(waveform) - settings.window_samples) // settings.hop_samples


def test_a_stream_starts_afresh_after_its_end() -> None:
    stream = SpectrogramStream(AUDIOSET_32K)
    first = np.concatenate([stream.push(noise(5000)), stream.finish()], axis=1)
    assert stream.finish().shape == (128, 0)
    assert np.array_equal(np.concatenate([stream.push(noise(5000)), stream.finish()], axis=1), first)


def test_bytes_are_on_the_scale_of_the_front_end() -> None:
    waveform = noise(40_000)
    stream = SpectrogramStream(AUDIOSET_32K)
    stored = np.concatenate([stream.push(waveform), stream.finish()], axis=1)
    assert np.array_equal(stored, encode_scale(efficientat(waveform), AUDIOSET_32K.scale).T)
    # Silence is near the lowest byte, and a full-scale tone near the highest.
    assert SpectrogramStream(AUDIOSET_32K).push(np.zeros(60_000, np.float32)).max() == 0
    tone = np.sin(2 * np.pi * 11_000 * np.arange(60_000) / 32_000).astype(np.float32)
    assert 250 <= SpectrogramStream(AUDIOSET_32K).push(tone).max() <= 255
    assert AUDIOSET_32K.scale.low < math.log(1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"window": "hamming"}, "window must be one of hann-normalised, hann-periodic, hann-symmetric, got 'hamming'"),
        ({"mel_scale": "htk"}, "mel_scale and mel_norm must be"),
        ({"mel_norm": "area"}, "got kaldi and area"),
        ({"pre_emphasis_of": "frame"}, "is_centred must be .* with frames as Kaldi's"),
        ({"hop_samples": None}, "needs sampling rate, window and hop"),
    ],
)
def test_what_it_does_not_compute_is_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SpectrogramStream(dataclasses.replace(AUDIOSET_32K, **change))


def test_every_front_end_has_its_name_and_survives_a_manifest() -> None:
    for name in FRONT_ENDS:
        known = FRONT_ENDS.load(name)
        assert front_end_name(known) == name
        assert typed(SpectrogramSettings, known.to_dict()) == known
    assert front_end_name(dataclasses.replace(AUDIOSET_32K, hop_samples=160)) is None
    assert "is_centred" not in EARSHOT_16K.to_dict()
