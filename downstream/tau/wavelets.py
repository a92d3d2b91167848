"""A constant-Q bank of Morlet wavelets, as weights of the bins of a magnitude spectrum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NUM_FILTERS = 290
LOWEST_HZ, HIGHEST_HZ = 20.0, 8000.0


def centre_frequencies(num_filters: int = NUM_FILTERS) -> NDArray[np.float64]:
    """(num_filters,) Hz, in constant ratio from 20 Hz to 8 kHz."""
    return np.geomspace(LOWEST_HZ, HIGHEST_HZ, num_filters)


def morlet_bank(sample_rate_hz: int, window_samples: int, num_filters: int = NUM_FILTERS) -> NDArray[np.float64]:
    """The gains of the filters at the bins of a spectrum.

    Chen et al. (2022) apply 290 wavelet filters to the magnitude spectrum but define none; this bank is ours. A Morlet
    wavelet of centre f and width s has the gain exp(−(ν − f)²/2s²) − exp(−f²/2s²) exp(−ν²/2s²) at the frequency ν, so
    that a constant gives nothing. The centres f lie in constant ratio r; two neighbours cross where each has half its
    power, s = f (r − 1)/((r + 1) √(ln 2)) (constant Q = f/s). Each filter's gains add up to 1: it is a weighted mean of
    magnitudes.

    Below about 157 Hz s would be narrower than a bin of a 512-ms window, 1.95 Hz; there it is one bin. These are the
    lowest 100 of the 290 filters. Their Q grows from 10 to 80; their centres lie 0.4 to 3.2 Hz apart, so that they
    overlap, and they weigh the same 70 bins: no more than 70 of them are linearly independent. The other 190 have a
    constant Q.

    Args:
        sample_rate_hz: of the sound, at least twice the highest centre.
        window_samples: of the spectrum.
        num_filters: at least 2.

    Returns:
        float64 of shape (window_samples // 2 + 1, num_filters).
    """
    centres = centre_frequencies(num_filters)
    ratio = centres[1] / centres[0]
    bins = np.fft.rfftfreq(window_samples, 1 / sample_rate_hz)
    widths = np.maximum(centres * (ratio - 1) / (ratio + 1) / np.sqrt(np.log(2)), bins[1])
    gains = np.exp(-((bins[:, None] - centres) ** 2) / (2 * widths**2))
    gains -= np.exp(-(centres**2 + bins[:, None] ** 2) / (2 * widths**2))
    return np.asarray(gains / gains.sum(0))
