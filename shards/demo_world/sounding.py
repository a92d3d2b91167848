"""Synthesises the field recording of a place from its factors."""

from __future__ import annotations

import numpy as np

from shards.demo_world import events, noises
from shards.demo_world.factors import Place
from shards.demo_world.noises import Soundscape, Wave

_HIGHEST_PEAK = 0.8


def record_place(
    place: Place, *, clip_seconds: float, sample_rate_hz: int, num_channels: int, generator: np.random.Generator
) -> Wave:
    """Synthesises a field recording of a place.

    Args:
        place: the place, whose factors shape the sound.
        clip_seconds: duration of the recording.
        sample_rate_hz: samples per second, at least 16,000 for birds and crickets.
        num_channels: 1, or 2 for a pair of microphones some centimetres apart.
        generator: draws everything that the factors don't determine: when a car passes, a bird calls, a wave breaks.

    Returns:
        Samples in (-1, 1), shape (num_samples, num_channels).
    """
    factors = place.factors
    scape = Soundscape(round(clip_seconds * sample_rate_hz), sample_rate_hz, generator)
    noises.add_wind(scape, factors)
    noises.add_surf(scape, factors)
    noises.add_river(scape, factors)
    noises.add_rain(scape, factors)
    noises.add_traffic(scape, factors)
    noises.add_machines(scape, factors)
    if factors.town > 0.04:
        noises.add_voices(scape, 0.11 * factors.town**0.8, 95, 230, num_voices=4)
    if factors.park > 0.04:
        noises.add_voices(scape, 0.05 * factors.park**0.8, 320, 520, num_voices=2)
    events.add_birds(scape, factors, place.region)
    events.add_pigeons(scape, factors)
    events.add_crickets(scape, factors)
    events.add_bells(scape, factors)
    events.add_village(scape, factors)
    events.add_hammers(scape, factors)
    events.add_steps(scape, factors)
    return _through_recorder(scape, num_channels)


def _through_recorder(scape: Soundscape, num_channels: int) -> Wave:
    """Simulates the recorder: random gain, hiss, no clipping, and a second microphone for stereo."""
    generator = scape.generator
    mix = scape.mix * np.float32(10 ** (generator.uniform(-2, 2) / 20))
    mix += generator.standard_normal(len(mix), dtype=np.float32) * np.float32(10 ** (generator.uniform(-66, -60) / 20))
    if num_channels == 2:
        delay = int(generator.integers(4, 14))
        beside = np.concatenate([mix[delay:], mix[:delay]])
        channels = np.stack([mix, 0.6 * beside + 0.4 * mix], axis=1)
    else:
        channels = mix[:, None]
    peak = float(np.abs(channels).max())
    return np.asarray(channels * np.float32(min(1.0, _HIGHEST_PEAK / peak)), dtype=np.float32)
