"""Discrete sound events: birds, crickets, dogs, bells, hammers and steps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shards.demo_world.factors import Factors
from shards.demo_world.noises import Soundscape, Wave
from shards.demo_world.regions import BirdSong, Region


def _clock(scape: Soundscape, seconds: float) -> Wave:
    return np.arange(max(8, round(seconds * scape.sample_rate_hz)), dtype=np.float32) / np.float32(scape.sample_rate_hz)


def _beats(scape: Soundscape, period_s: float, jitter: float) -> Iterator[float]:
    """Onset times of a slightly irregular rhythm over the whole recording."""
    second = -period_s * scape.generator.uniform(0, 1)
    while second < scape.seconds[-1]:
        yield second
        second += period_s * float(np.exp(jitter * scape.generator.standard_normal()))


def _phrase(scape: Soundscape, song: BirdSong) -> Wave:
    """One phrase of a bird song, varied slightly each time."""
    time = _clock(scape, song.syllable_seconds)
    progress = time / time[-1]
    transposed = np.float32(2 ** (0.06 * scape.generator.standard_normal()))
    sweep = np.float32(song.start_hz) * time + np.float32(song.end_hz - song.start_hz) * time * progress / 2
    syllable = np.sin(2 * np.pi * transposed * sweep) * (4 * progress * (1 - progress)) ** 0.7
    silence = np.zeros(round(song.gap_seconds * scape.sample_rate_hz), dtype=np.float32)
    count = max(1, song.syllables + int(scape.generator.integers(-1, 2)))
    return np.tile(np.concatenate([syllable, silence]).astype(np.float32), count)


def add_birds(scape: Soundscape, factors: Factors, region: Region) -> None:
    """Adds the region's birds, which are more frequent and louder the denser the trees."""
    wooded = factors.forest + 0.8 * factors.park + 0.35 * factors.village
    for song, habitat in ((region.woodland_bird, wooded), (region.open_land_bird, factors.farmland)):
        if habitat < 0.05:
            continue
        period_s, loudness = 3.0 * 0.055**factors.trees, 0.13 * habitat**0.6 * (0.4 + 0.9 * factors.trees)
        for second in _beats(scape, period_s, 0.35):
            scape.add_at(_phrase(scape, song), second, loudness * scape.generator.uniform(0.5, 1))


def add_pigeons(scape: Soundscape, factors: Factors) -> None:
    """Adds cooing wood pigeons, louder with more forest."""
    if factors.forest < 0.05:
        return
    coos = []
    for seconds in (0.16, 0.30, 0.16):
        time = _clock(scape, seconds)
        progress = time / time[-1]
        coos += [np.sin(2 * np.pi * 470 * time * (1 + 0.08 * progress)) * np.sin(np.pi * progress) ** 2]
        coos += [np.zeros(round(0.05 * scape.sample_rate_hz), dtype=np.float32)]
    call = np.concatenate(coos).astype(np.float32)
    for second in _beats(scape, 1.1, 0.12):
        scape.add_at(call, second, 0.12 * factors.forest**0.7)


def add_crickets(scape: Soundscape, factors: Factors) -> None:
    """Adds crickets in the fields, higher and faster the riper the crop."""
    if factors.farmland < 0.05:
        return
    pulses_per_second = 14 + 22 * factors.ripeness
    pulse = np.maximum(np.sin(2 * np.pi * pulses_per_second * scape.seconds), 0) ** 1.5
    chirp = 0.25 + (np.sin(2 * np.pi * 2.2 * scape.seconds + scape.generator.uniform(0, 6)) > -0.3)
    tone = np.sin(2 * np.pi * np.float32(3300 * 1.85**factors.ripeness) * scape.seconds)
    scape.add(np.asarray(tone * pulse * chirp, dtype=np.float32), 0.10 * factors.farmland**0.7)


def add_bells(scape: Soundscape, factors: Factors) -> None:
    """Adds church bells, deeper the larger the tower."""
    if not factors.has_church:
        return
    time = _clock(scape, 2.2)
    prime_hz = 1900 * 0.14**factors.tower
    bell = np.zeros_like(time)
    for ratio, loudness, ring_s in (
        (0.5, 0.6, 1.6),
        (1, 1, 1.0),
        (1.19, 0.7, 0.8),
        (1.5, 0.4, 0.6),
        (2, 0.7, 0.5),
        (3, 0.3, 0.3),
    ):
        bell += (
            np.float32(loudness)
            * np.sin(2 * np.pi * np.float32(ratio * prime_hz) * time)
            * np.exp(-time / np.float32(ring_s))
        )
    for second in _beats(scape, 1.25, 0.05):
        scape.add_at(bell, second, 0.08)
    scape.add_at(bell, -0.5, 0.04)


def add_village(scape: Soundscape, factors: Factors) -> None:
    """Adds barking dogs and clucking hens among the houses."""
    if factors.village < 0.05:
        return
    time = _clock(scape, 0.16)
    bark_hz = scape.generator.uniform(380, 620)
    glide = 2 * np.pi * np.float32(bark_hz) * (time + 1.2 * time * (0.16 - time))
    bark = (np.sin(glide) + 0.7 * np.sin(2 * glide) + 0.5 * np.sin(3 * glide)) * np.sin(np.pi * time / time[-1])
    for second in _beats(scape, 1.9 - 1.3 * factors.village, 0.3):
        scape.add_at(bark, second, 0.17 * factors.village**0.6 * scape.generator.uniform(0.6, 1))
    cluck_time = _clock(scape, 0.05)
    cluck = np.sin(2 * np.pi * 1150 * cluck_time * (1 + 2 * cluck_time)) * np.exp(-cluck_time / np.float32(0.014))
    for second in _beats(scape, 0.28, 0.5):
        scape.add_at(cluck, second, 0.09 * factors.village**0.6 * scape.generator.uniform(0.3, 1))


def add_hammers(scape: Soundscape, factors: Factors) -> None:
    """Adds hammering on metal in the halls, deeper and slower in larger halls."""
    if factors.industry < 0.05:
        return
    time = _clock(scape, 0.35)
    clank = np.zeros_like(time)
    for ratio in (1.0, 1.52, 2.31, 3.17):
        clank += np.sin(2 * np.pi * np.float32(ratio * (1900 - 1000 * factors.hall_size)) * time)
    clank *= np.exp(-time / np.float32(0.07))
    for second in _beats(scape, 0.45 + 0.5 * factors.hall_size, 0.08):
        scape.add_at(clank, second, 0.09 * factors.industry**0.7 * scape.generator.uniform(0.5, 1))


def add_steps(scape: Soundscape, factors: Factors) -> None:
    """Adds footsteps on the gravel paths of a park."""
    if factors.park < 0.05:
        return
    time = _clock(scape, 0.13)
    for second in _beats(scape, 0.5, 0.04):
        grit = scape.generator.standard_normal(len(time), dtype=np.float32)
        crunch = np.diff(grit, prepend=np.float32(0)) * np.sin(np.pi * time / time[-1]) ** 2
        scape.add_at(crunch, second, 0.08 * factors.park**0.7 * scape.generator.uniform(0.6, 1))
