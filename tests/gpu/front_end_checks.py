"""The front ends computed on the device by torchaudio against the stored bytes that `SpectrogramStream` gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gpu.closeness import in_full_float32
from gpu.items import Place
from torch import Tensor

from shards.schema import SpectrogramSettings

MOST_BYTES = 1
"""By how much a stored byte may differ: where float32 falls on the other side of a rounding."""
MOST_SHARE = 0.01
"""Of the bytes that may differ at all."""


def every_front_end_equals_the_cpu(place: Place) -> dict[str, Any]:
    """For each front end: the share of bytes that differ in float32, and seconds of sound computed a second.

    Raises:
        AssertionError: a byte differs by more than `MOST_BYTES`, or more of them than `MOST_SHARE`.
    """
    from shards.decoding.spectrogram_stream import SpectrogramStream
    from shards.front_ends import FRONT_ENDS

    in_full_float32()
    figures: dict[str, Any] = {}
    for name in FRONT_ENDS:
        settings = FRONT_ENDS.load(name)
        assert settings.sample_rate_hz is not None
        seconds = 30 if place.is_gpu else 3
        sound = _sound(seconds * settings.sample_rate_hz, settings.sample_rate_hz)
        stream = SpectrogramStream(settings)
        ours = np.concatenate([stream.push(sound), stream.finish()], axis=1)
        waveform = torch.from_numpy(sound).to(place.device)
        theirs = stored_bytes(waveform, settings).cpu().numpy()
        assert ours.shape == theirs.shape, f"{name}: {theirs.shape} on the device, {ours.shape} on the CPU"
        apart = np.abs(ours.astype(np.int16) - theirs.astype(np.int16))
        share = float((apart > 0).mean())
        assert apart.max() <= MOST_BYTES, f"{name}: bytes differ by up to {apart.max()}, allowed {MOST_BYTES}"
        assert share <= MOST_SHARE, f"{name}: {share:.2%} of the bytes differ, allowed {MOST_SHARE:.0%}"
        figures[f"{name}, share of bytes that differ"] = share
        figures[f"{name}, seconds of sound a second"] = seconds / _seconds_of(waveform, settings)
    return figures


def _sound(num_samples: int, sample_rate_hz: int) -> np.ndarray:
    """A chirp over noise, a second of which is quiet."""
    generator, at = np.random.default_rng(0), np.arange(num_samples) / sample_rate_hz
    sound = 0.3 * np.sin(2 * np.pi * (100 + 200 * at) * at) + 0.05 * generator.standard_normal(num_samples)
    sound[sample_rate_hz : 2 * sample_rate_hz] *= 1e-3
    return sound.astype(np.float32)


def _seconds_of(waveform: Tensor, settings: SpectrogramSettings) -> float:
    from gpu.clock import seconds_a_call

    return seconds_a_call(lambda: stored_bytes(waveform, settings), 5, str(waveform.device.type))


def stored_bytes(waveform: Tensor, settings: SpectrogramSettings) -> Tensor:
    """The bytes of a whole waveform (samples,), computed in its type on its device: (mel bands, frames) uint8."""
    from shards.decoding.spectrogram_stream import SMALLEST_POWER

    energies = _kaldi_energies(waveform, settings) if settings.pre_emphasis_of == "frame" else _energies(
        waveform, settings
    )  # fmt: skip
    values = torch.log((energies + settings.added_power).clamp_min(settings.smallest_power or SMALLEST_POWER))
    low, high = settings.scale.low, settings.scale.high
    return ((values - low) * (255.0 / (high - low))).round().clamp(0, 255).byte()


def _energies(waveform: Tensor, settings: SpectrogramSettings) -> Tensor:
    """The power in each mel band: (mel bands, frames)."""
    import torchaudio

    from shards.decoding.mel_filters import filters_of
    from shards.decoding.spectrogram_stream import WINDOWS

    assert settings.window_samples is not None
    assert settings.hop_samples is not None
    if settings.pre_emphasis:
        waveform = waveform[1:] - settings.pre_emphasis * waveform[:-1]
    power = torchaudio.functional.spectrogram(
        waveform,
        pad=0,
        window=WINDOWS[settings.window](settings.window_samples).to(waveform),
        n_fft=settings.fft_samples or settings.window_samples,
        hop_length=settings.hop_samples,
        win_length=settings.window_samples,
        power=2.0,
        normalized=False,
        center=settings.is_centred,
        pad_mode="reflect",
    )
    return torch.from_numpy(filters_of(settings).copy()).to(power).T @ power


def _kaldi_energies(waveform: Tensor, settings: SpectrogramSettings) -> Tensor:
    from torchaudio.compliance import kaldi

    assert settings.sample_rate_hz is not None
    assert settings.window_samples is not None
    assert settings.hop_samples is not None
    return kaldi.fbank(
        waveform[None],
        sample_frequency=float(settings.sample_rate_hz),
        frame_length=1000.0 * settings.window_samples / settings.sample_rate_hz,
        frame_shift=1000.0 * settings.hop_samples / settings.sample_rate_hz,
        window_type="hanning",
        num_mel_bins=settings.mel_bands,
        low_freq=settings.low_hz,
        high_freq=settings.high_hz or 0.0,
        preemphasis_coefficient=settings.pre_emphasis,
        use_log_fbank=False,
    ).T
