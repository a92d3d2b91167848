"""Continuous sounds as shaped noise: wind, surf, running water, rain, traffic, machines and crowds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from shards.demo_world.factors import Factors

Wave = NDArray[np.floating[Any]]


class Soundscape:
    """A recording that is being synthesised.

    Attributes:
        sample_rate_hz: samples per second.
        seconds: time of each sample, shape (num_samples,).
        mix: the sum of all sounds added so far, full scale = 1, shape (num_samples,).
        generator: draws everything that the factors don't determine.
    """

    def __init__(self, num_samples: int, sample_rate_hz: int, generator: np.random.Generator) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.generator = generator
        self.num_samples = num_samples
        self.seconds: Wave = np.arange(num_samples, dtype=np.float32) / np.float32(sample_rate_hz)
        self.mix: Wave = np.zeros(num_samples, dtype=np.float32)
        self._fast_length = fft.next_fast_len(num_samples, real=True)
        self._hertz: Wave = fft.rfftfreq(self._fast_length, 1 / sample_rate_hz).astype(np.float32)
        self._white = generator.standard_normal(2 * len(self._hertz), dtype=np.float32).view(np.complex64)

    def noise(self, low_hz: float, high_hz: float) -> Wave:
        """Noise of unit power between two frequencies, falling by 12 dB per octave below and 24 dB above."""
        low, high = (self._hertz / np.float32(low_hz)) ** 2, (self._hertz / np.float32(high_hz)) ** 4
        shape = low / ((1 + low) * (1 + high))
        shift = int(self.generator.integers(len(shape)))
        noise = fft.irfft(np.roll(self._white, shift) * shape, self._fast_length)[: self.num_samples]
        return np.asarray(noise / np.sqrt(np.mean(noise**2)), dtype=np.float32)

    def slow_noise(self, changes_per_second: float) -> Wave:
        """A slowly varying random signal with mean 0 and unit variance, for gusts and voices."""
        block = round(self.sample_rate_hz / changes_per_second)
        heights = self.generator.standard_normal(math.ceil(self.num_samples / block) + 1, dtype=np.float32)
        ramp = np.linspace(0, 1, block, endpoint=False, dtype=np.float32)
        ramp = ramp * ramp * (3 - 2 * ramp)
        course = heights[:-1, None] + np.diff(heights)[:, None] * ramp
        return np.asarray(course.ravel()[: self.num_samples] * np.float32(1.25))

    def filtered(self, wave: Wave, gain: Wave) -> Wave:
        """Multiplies the spectrum of a wave by `gain`, sampled at `hertz`."""
        return np.asarray(fft.irfft(fft.rfft(wave, self._fast_length) * gain, self._fast_length)[: self.num_samples])

    @property
    def hertz(self) -> Wave:
        """Frequencies of the spectral bins that `filtered` uses."""
        return self._hertz

    def add(self, sound: Wave, loudness: float) -> None:
        """Mixes in a sound of the same length as the recording."""
        self.mix += np.float32(loudness) * sound

    def add_at(self, sound: Wave, at_second: float, loudness: float) -> None:
        """Mixes in a short sound at a given, possibly negative, time; it is cut to the recording."""
        start = round(at_second * self.sample_rate_hz)
        first, last = max(0, start), min(self.num_samples, start + len(sound))
        if first < last:
            self.mix[first:last] += np.float32(loudness) * sound[first - start : last - start]


def _sawtooth(cycles: Wave) -> Wave:
    """Rises from 0 to 1 in every cycle."""
    return np.asarray(cycles - np.floor(cycles))


def add_surf(scape: Soundscape, factors: Factors) -> None:
    """Adds surf: higher waves are slower, louder and deeper."""
    if factors.sea < 0.06:
        return
    period_s = 0.9 + 1.5 * factors.waves
    phase = scape.seconds / period_s + 0.10 * scape.slow_noise(0.8) + scape.generator.uniform()
    rush = _sawtooth(phase.astype(np.float32))
    envelope = 0.18 + np.where(rush < 0.25, rush / 0.25, np.exp(-2.6 * (rush - 0.25))) ** 1.5
    surf = scape.noise(110, 3400 - 2400 * factors.waves) * envelope
    scape.add(surf, 0.26 * factors.sea**0.7 * (0.3 + 0.9 * factors.waves))
    scape.add(scape.noise(2500, 8500) * envelope**2, 0.05 * factors.sea**0.7)


def add_wind(scape: Soundscape, factors: Factors) -> None:
    """Adds wind in the microphone and in leaves: stronger wind is louder and higher."""
    gusts = np.exp(0.35 * scape.slow_noise(1.2))
    scape.add(scape.noise(30, 90 + 330 * factors.wind) * gusts, 0.003 + 0.09 * factors.wind**1.6)
    leaves = factors.forest + 0.3 * factors.park + 0.2 * factors.farmland
    scape.add(scape.noise(2800, 5200) * gusts**1.5, (0.012 + 0.05 * factors.wind**1.5) * leaves)


def add_river(scape: Soundscape, factors: Factors) -> None:
    """Adds running water with gurgles: a wider river is louder and deeper."""
    if factors.river < 0.06:
        return
    flow = scape.noise(900 - 500 * factors.river, 4200 - 2200 * factors.river)
    scape.add(flow * (1 + 0.25 * scape.slow_noise(14)), 0.16 * factors.river**0.8)
    for _ in range(scape.generator.poisson(14 * scape.seconds[-1])):
        seconds = scape.generator.uniform(0.02, 0.05)
        time = np.arange(round(seconds * scape.sample_rate_hz), dtype=np.float32) / scape.sample_rate_hz
        pitch_hz = scape.generator.uniform(450, 1100) * (1.4 - 0.6 * factors.river)
        bubble = np.sin(2 * np.pi * pitch_hz * time * (1 + 5 * time)) * np.exp(-time / (seconds / 4))
        scape.add_at(
            bubble.astype(np.float32), scape.generator.uniform(0, scape.seconds[-1]), 0.10 * factors.river**0.8
        )


def add_rain(scape: Soundscape, factors: Factors) -> None:
    """Adds rain where the factor exceeds 0.5: a hiss that becomes denser."""
    if factors.rain > 0.5:
        patter = scape.noise(3800, 9000) * (1 + 0.3 * scape.slow_noise(60))
        scape.add(patter, 0.05 * ((factors.rain - 0.5) * 2) ** 1.2)


def add_traffic(scape: Soundscape, factors: Factors) -> None:
    """Adds the road: a rumble and passing cars."""
    scape.add(scape.noise(70, 300), 0.06 * factors.traffic**1.5)
    if factors.traffic < 0.22:
        return
    passing = np.zeros(scape.num_samples, dtype=np.float32)
    num_cars = scape.generator.poisson((0.2 + 1.8 * factors.traffic) * (scape.seconds[-1] + 2))
    for middle in scape.generator.uniform(-1, scape.seconds[-1] + 1, num_cars):
        away = (scape.seconds - np.float32(middle)) / np.float32(scape.generator.uniform(0.22, 0.45))
        passing += np.float32(scape.generator.uniform(0.5, 1)) / (1 + away * away) ** 2
    scape.add(scape.noise(450, 1500) * passing, 0.07 * (0.35 + 0.65 * factors.traffic))


def add_machines(scape: Soundscape, factors: Factors) -> None:
    """Adds factory halls: a throbbing hum, deeper and slower the larger the hall."""
    if factors.industry < 0.04:
        return
    pitch_hz = 560 * 0.2**factors.hall_size
    cycles = scape.seconds * np.float32(pitch_hz) + 0.03 * scape.slow_noise(3)
    hum = 2 * _sawtooth(cycles) + _sawtooth(2.01 * cycles) - 1.5
    throb = 1 + 0.6 * np.sin(2 * np.pi * scape.seconds * np.float32(7.5 - 5 * factors.hall_size))
    scape.add(np.asarray(hum * throb, dtype=np.float32), 0.12 * factors.industry**0.7)
    scape.add(scape.noise(5200, 7500) * throb, 0.03 * factors.industry**0.7)


_VOWELS = ((730, 1090, 2440), (530, 1840, 2480), (570, 840, 2410), (440, 1020, 2240))


def add_voices(scape: Soundscape, loudness: float, low_hz: float, high_hz: float, num_voices: int) -> None:
    """Adds a babble of voices: buzzing sources with syllables, filtered by the formants of vowels."""
    babble = np.zeros(scape.num_samples, dtype=np.float32)
    for _ in range(num_voices):
        pitch = np.float32(scape.generator.uniform(low_hz, high_hz)) * (1 + 0.12 * scape.slow_noise(3))
        buzz = _sawtooth(np.cumsum(pitch / np.float32(scape.sample_rate_hz))) - 0.5
        babble += buzz * np.maximum(scape.slow_noise(7), 0)
    vowel = _VOWELS[int(scape.generator.integers(len(_VOWELS)))]
    gain = sum(
        1 / (1 + ((scape.hertz - formant) / (90 + 0.05 * formant)) ** 2) / (1 + k) for k, formant in enumerate(vowel)
    )
    voices = scape.filtered(babble, np.asarray(gain, dtype=np.float32))
    scape.add(voices / np.float32(np.sqrt(np.mean(voices**2)) + 1e-6), loudness)
