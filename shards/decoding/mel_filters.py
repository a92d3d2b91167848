"""Triangular mel filters, which sum a power spectrum to bands."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from shards.schema import SpectrogramSettings


@lru_cache(maxsize=8)
def filters_of(settings: SpectrogramSettings) -> npt.NDArray[np.float64]:
    """The filters of a front end, float64 (frequency bins, mel bands).

    Raises:
        ValueError: the mel scale or the norm is not supported.
    """
    assert settings.sample_rate_hz is not None
    assert settings.window_samples is not None
    fft_samples, high_hz = settings.fft_samples or settings.window_samples, settings.high_hz
    if (settings.mel_scale, settings.mel_norm) == ("kaldi", "peak"):
        return _kaldi_filters(settings.sample_rate_hz, fft_samples, settings.mel_bands, settings.low_hz, high_hz)
    if settings.mel_scale != "slaney" or settings.mel_norm not in ("peak", "area"):
        raise ValueError(
            "mel_scale and mel_norm must be slaney and peak, slaney and area, or kaldi and peak, got "
            f"{settings.mel_scale} and {settings.mel_norm}"
        )
    return mel_filters(
        settings.sample_rate_hz,
        fft_samples,
        settings.mel_bands,
        low_hz=settings.low_hz,
        high_hz=high_hz,
        has_area_1=settings.mel_norm == "area",
    )


@lru_cache(maxsize=8)
def mel_filters(
    sample_rate_hz: int,
    fft_samples: int,
    mel_bands: int,
    *,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    has_area_1: bool = False,
) -> npt.NDArray[np.float64]:
    """Triangular filters on Slaney's mel scale.

    The scale is linear below 1 kHz (3 mel per 200 Hz) and logarithmic above (27 mel per factor of 6.4).

    Args:
        sample_rate_hz: of the sound.
        fft_samples: length of the Fourier transform.
        mel_bands: number of filters.
        low_hz: lower edge of the first filter.
        high_hz: upper edge of the last; None: half the sampling rate.
        has_area_1: whether each filter has area 1 in Hz, instead of peak 1.

    Returns:
        float64 of shape (fft_samples // 2 + 1, mel_bands), read-only: the weight of each frequency bin in each band.
        Source: Slaney, Auditory Toolbox, Interval Research technical report 1998-010.
    """
    low_mel, high_mel = _slaney_mel(low_hz), _slaney_mel(high_hz or sample_rate_hz / 2)
    mels = np.linspace(low_mel, high_mel, mel_bands + 2)
    above = 1000.0 * np.exp(LOG_STEP * (mels - LINEAR_TOP_MEL))
    edges_hz = np.where(mels < LINEAR_TOP_MEL, mels * 200.0 / 3.0, above)
    bins_hz = np.arange(fft_samples // 2 + 1)[:, None] * sample_rate_hz / fft_samples
    rising = (bins_hz - edges_hz[:-2]) / np.diff(edges_hz)[:-1]
    falling = (edges_hz[2:] - bins_hz) / np.diff(edges_hz)[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if has_area_1:
        filters *= 2.0 / (edges_hz[2:] - edges_hz[:-2])
    filters.flags.writeable = False
    return filters


LINEAR_TOP_MEL, LOG_STEP = 15.0, np.log(6.4) / 27.0


def _slaney_mel(hertz: float) -> float:
    return float(LINEAR_TOP_MEL + np.log(hertz / 1000.0) / LOG_STEP) if hertz >= 1000.0 else hertz * 3.0 / 200.0


def _kaldi_filters(
    sample_rate_hz: int, fft_samples: int, mel_bands: int, low_hz: float, high_hz: float | None
) -> npt.NDArray[np.float64]:
    """torchaudio's filters on Kaldi's mel scale; the highest bin is in no band."""
    from torchaudio.compliance.kaldi import get_mel_banks

    banks, _ = get_mel_banks(
        num_bins=mel_bands,
        window_length_padded=fft_samples,
        sample_freq=float(sample_rate_hz),
        low_freq=low_hz,
        high_freq=high_hz or sample_rate_hz / 2,
        vtln_low=100.0,
        vtln_high=-500.0,
        vtln_warp_factor=1.0,
    )
    return np.pad(banks.T.double().numpy(), ((0, 1), (0, 0)))
