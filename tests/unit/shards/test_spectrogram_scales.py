"""Bytes of one scale as bytes of another: by the letter, there and back, at the ends, and for unknown quantities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import UserError
from shards.front_ends import FRONT_ENDS
from shards.schema import LOG_MEL_SCALE, SpectrogramScale
from shards.sources.soundingearth import RELEASED_SPECTROGRAMS
from shards.spectrogram_scales import converted_bytes

RELEASED = RELEASED_SPECTROGRAMS.scale
SCALES = [RELEASED, *(FRONT_ENDS.load(name).scale for name in FRONT_ENDS)]


def by_the_letter(byte: int) -> float:
    """A log-mel byte of ours as the release would have stored it, in the words of its authors' code."""
    log_mel = -28 + byte * 28 / 255
    low, high = math.exp(-15 / 10), math.exp(5 / 10)
    return 255 * min(max((math.exp(log_mel / 10) - low) / (high - low), 0), 1)


def test_log_mel_becomes_the_release() -> None:
    found = converted_bytes(LOG_MEL_SCALE, RELEASED)
    np.testing.assert_allclose(found, [by_the_letter(byte) for byte in range(256)], atol=1e-4)
    assert found[0] == 0
    # Full scale, exp(0) = 1.
    assert found[255] == pytest.approx(255 * (1 - math.exp(-1.5)) / (math.exp(0.5) - math.exp(-1.5)))


@given(st.sampled_from(SCALES), st.sampled_from(SCALES), st.integers(0, 255))
def test_what_fits_both_ranges_comes_back(one: SpectrogramScale, other: SpectrogramScale, byte: int) -> None:
    there = float(converted_bytes(one, other)[byte])
    if 0 < there < 255:
        back = np.interp(there, np.arange(256), converted_bytes(other, one))
        assert back == pytest.approx(byte, abs=2)
    assert (np.diff(converted_bytes(one, other)) >= 0).all()


@pytest.mark.parametrize("scale", SCALES)
def test_a_scale_is_itself(scale: SpectrogramScale) -> None:
    np.testing.assert_allclose(converted_bytes(scale, scale), np.arange(256), atol=1e-3)


def test_quantities_that_are_unknown() -> None:
    with pytest.raises(UserError, match=r"scale 'decibel' can't be converted; known scales: log-mel, exp-log-mel/10"):
        converted_bytes(SpectrogramScale("decibel", -100, 0), RELEASED)
