"""Writes recordings of noise for benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 44_100


def write_sound(path: Path, seconds: int, subtype: str) -> None:
    """Stereo noise that swells and a tone, at 44.1 kHz."""
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE_HZ, 2, subtype) as file:
        for second in range(seconds):
            time_s = second + np.arange(RATE_HZ) / RATE_HZ
            noise = generator.standard_normal((RATE_HZ, 2)) * (0.05 + 0.04 * np.sin(0.7 * time_s))[:, None]
            file.write(noise + 0.2 * np.sin(2 * np.pi * 440 * time_s)[:, None])
