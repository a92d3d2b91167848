"""The log-mel spectrogram against a literal reference and torchaudio, and its independence of how sound is cut."""

from __future__ import annotations

import cmath
import io
import math

import numpy as np
import pytest
import torch
import torchaudio
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.decoding.mel_filters import mel_filters
from shards.decoding.spectrogram import encode_scale, repeat_to_length
from shards.decoding.spectrogram_stream import FRAMES_PER_BATCH, SpectrogramStream
from shards.schema import LOG_MEL_SCALE, SpectrogramScale, SpectrogramSettings

SETTINGS = SpectrogramSettings()


def noise_and_tone(num_samples: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    fading = np.geomspace(1.0, 1e-5, max(num_samples, 1))[:num_samples]
    tone = 0.3 * np.sin(2 * np.pi * 700 * np.arange(num_samples) / 16_000)
    return (fading * (0.1 * generator.standard_normal(num_samples) + tone)).astype(np.float32)


def decode_scale(stored: np.ndarray, scale: SpectrogramScale) -> np.ndarray:
    """The values that stored bytes stand for: low + byte · (high − low) / 255, float32 of the same shape."""
    step = np.float32((scale.high - scale.low) / 255.0)
    return stored.astype(np.float32) * step + np.float32(scale.low)


def in_one_piece(waveform: np.ndarray) -> np.ndarray:
    stream = SpectrogramStream(SETTINGS)
    return np.concatenate([stream.push(waveform), stream.finish()], axis=1)


def literal_frame(samples: list[float]) -> list[int]:
    """One frame by the definition alone: a Fourier sum, triangles and a logarithm."""
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 1024) for n in range(1024)]
    windowed = [sample * weight for sample, weight in zip(samples, window, strict=True)]
    turns = [cmath.exp(-2j * math.pi * n / 1024) for n in range(1024)]
    powers = [
        abs(sum(value * turns[k * n % 1024] for n, value in enumerate(windowed))) ** 2 / sum(window) ** 2
        for k in range(513)
    ]
    top = 15 + 27 * math.log(8) / math.log(6.4)
    mels = [top * i / 129 for i in range(130)]
    edges = [mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27) for mel in mels]
    stored = []
    for left, centre, right in zip(edges, edges[1:], edges[2:], strict=False):
        total = 0.0
        for k, power in enumerate(powers):
            hertz = k * 16_000 / 1024
            total += power * max(0.0, min((hertz - left) / (centre - left), (right - hertz) / (right - centre)))
        stored.append(min(255, max(0, round((math.log(max(total, 1e-38)) + 28) * 255 / 28))))
    return stored


def test_frames_equal_the_literal_definition() -> None:
    waveform = noise_and_tone(1024 + 2 * 400 + 399)
    frames = in_one_piece(waveform)
    assert frames.shape == (128, 3)
    for frame in (0, 2):
        assert frames[:, frame].tolist() == literal_frame(waveform[400 * frame : 400 * frame + 1024].tolist())


def test_mel_filters_equal_torchaudio() -> None:
    theirs = torchaudio.functional.melscale_fbanks(513, 0.0, 8000.0, 128, 16_000, norm=None, mel_scale="slaney")
    ours = mel_filters(16_000, 1024, 128)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-5)
    assert (ours.sum(axis=0) > 0).all()  # no band lies between two frequency bins


def test_spectrogram_equals_torchaudio() -> None:
    waveform = noise_and_tone(16_000 * 8)
    transform = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=1024, hop_length=400, n_mels=128, norm=None, mel_scale="slaney", center=False, power=2.0
    ).double()
    power = transform(torch.from_numpy(waveform).double()).numpy() / torch.hann_window(1024).sum().item() ** 2
    theirs = encode_scale(np.log(np.maximum(power, 1e-38)), LOG_MEL_SCALE)
    difference = np.abs(in_one_piece(waveform).astype(int) - theirs)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3  # torchaudio's filters are float32


@settings(deadline=None, max_examples=60)
@given(data=st.data(), num_samples=st.integers(0, 70_000))
def test_cuts_never_change_a_bit(data: st.DataObject, num_samples: int) -> None:
    waveform = noise_and_tone(num_samples)
    cuts = sorted(data.draw(st.lists(st.integers(0, num_samples), max_size=30)))
    stream = SpectrogramStream(SETTINGS)
    pieces = [stream.push(piece) for piece in np.split(waveform, cuts)]
    cut = np.concatenate([*pieces, stream.finish()], axis=1)
    assert np.array_equal(cut, in_one_piece(waveform))
    assert cut.shape == (128, max(0, 1 + (num_samples - 1024) // 400))


@pytest.mark.parametrize("piece_samples", [1, 399, 400, 1023, 1024, 1025, FRAMES_PER_BATCH * 400])
def test_pieces_of_equal_length_never_change_a_bit(piece_samples: int) -> None:
    waveform = noise_and_tone(FRAMES_PER_BATCH * 400 + 1500 if piece_samples == 1 else 120_000)
    stream = SpectrogramStream(SETTINGS)
    pieces = [stream.push(waveform[i : i + piece_samples]) for i in range(0, len(waveform), piece_samples)]
    assert np.array_equal(np.concatenate([*pieces, stream.finish()], axis=1), in_one_piece(waveform))


def test_a_beginning_has_the_frames_that_the_whole_begins_with() -> None:
    waveform = noise_and_tone(90_000)
    beginning = in_one_piece(waveform[:31_337])
    assert np.array_equal(beginning, in_one_piece(waveform)[:, : beginning.shape[1]])


def test_stream_keeps_no_reference_to_the_callers_buffer() -> None:
    waveform = noise_and_tone(20_000)
    expected = in_one_piece(waveform)
    stream, buffer = SpectrogramStream(SETTINGS), np.empty(5_000, np.float32)
    pieces = []
    for start in range(0, 20_000, 5_000):
        buffer[:] = waveform[start : start + 5_000]
        pieces.append(stream.push(buffer))
    assert np.array_equal(np.concatenate([*pieces, stream.finish()], axis=1), expected)


@pytest.mark.parametrize(("num_samples", "frames"), [(0, 0), (1023, 0), (1024, 1), (1423, 1), (1424, 2)])
def test_number_of_frames(num_samples: int, frames: int) -> None:
    assert in_one_piece(noise_and_tone(num_samples)).shape == (128, frames)


@pytest.mark.parametrize("hertz", [50.0, 440.0, 1000.0, 3000.0, 7500.0])
def test_a_sine_is_loudest_in_its_band(hertz: float) -> None:
    waveform = np.sin(2 * np.pi * hertz * np.arange(16_000) / 16_000).astype(np.float32)
    loudest = in_one_piece(waveform).mean(axis=1).argmax()
    top = 15 + 27 * math.log(8) / math.log(6.4)
    mel = hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)
    assert abs(loudest + 1 - mel / top * 129) <= 1


def test_full_scale_is_near_the_top_and_silence_at_the_bottom_of_the_scale() -> None:
    time = np.arange(16_000) / 16_000
    sine = decode_scale(in_one_piece(np.sin(2 * np.pi * 1000 * time).astype(np.float32)), LOG_MEL_SCALE)
    assert sine.max() == pytest.approx(math.log(1 / 4), abs=0.5)
    assert (in_one_piece(np.zeros(16_000, np.float32)) == 0).all()


def test_loudness_moves_every_byte_alike() -> None:
    generator = np.random.default_rng(3)
    waveform = (0.1 * generator.standard_normal(32_000)).astype(np.float32)
    louder, softer = (in_one_piece(waveform * gain).astype(int) for gain in (1.0, 0.1))
    expected = math.log(100) * 255 / 28
    assert np.abs((louder - softer) - expected).max() <= 1.0


def test_a_stored_frame_lies_together_in_memory_and_file() -> None:
    stream = SpectrogramStream(SETTINGS)
    frames = stream.push(noise_and_tone(60_000))
    assert frames.dtype == np.uint8
    assert frames.flags.f_contiguous
    assert repeat_to_length(frames[:, :5]).flags.f_contiguous
    stored = io.BytesIO()
    np.save(stored, frames)
    body = stored.getvalue()[-frames.size :]
    assert body[128:256] == frames[:, 1].tobytes()


def test_short_spectrograms_are_repeated_to_length() -> None:
    short = np.arange(128 * 50, dtype=np.int64).astype(np.uint8).reshape(128, 50, order="F")
    long = repeat_to_length(short)
    assert long.shape == (128, 128)
    assert np.array_equal(long, np.tile(short, 3)[:, :128])
    assert np.array_equal(repeat_to_length(long), long)
    assert repeat_to_length(short, min_frames=20).shape == (128, 50)
    with pytest.raises(ValueError, match="without frames"):
        repeat_to_length(short[:, :0])


@pytest.mark.parametrize("scale", [LOG_MEL_SCALE, SpectrogramScale("exp-log-mel/10", math.exp(-1.5), math.exp(0.5))])
def test_bytes_survive_decoding_and_encoding(scale: SpectrogramScale) -> None:
    stored = np.arange(256, dtype=np.uint8)
    values = decode_scale(stored, scale)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values[[0, 255]], [scale.low, scale.high], atol=1e-5)
    assert np.array_equal(encode_scale(values, scale), stored)
    assert encode_scale(np.array([scale.low - 9, scale.high + 9]), scale).tolist() == [0, 255]


@pytest.mark.parametrize(
    "unusable",
    [
        SpectrogramSettings(sample_rate_hz=None),
        SpectrogramSettings(hop_samples=None),
        SpectrogramSettings(mel_scale="htk"),
        SpectrogramSettings(scale=SpectrogramScale("exp-log-mel/10", 0.2, 1.6)),
    ],
)
def test_settings_that_cannot_be_computed_are_refused(unusable: SpectrogramSettings) -> None:
    with pytest.raises(ValueError, match=r"spectrogram needs|must be"):
        SpectrogramStream(unusable)
