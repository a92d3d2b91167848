"""Small sets of image and sound for tests: real JPEG and WAV files, in ADVANCE's layout, in a table's, and by event."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000

SCENES = {"beach": (200, 160, 90), "forest": (60, 160, 60), "harbour": (90, 90, 200)}
"""Of ADVANCE's classes, and a colour of each: blue, green and red, as OpenCV writes them."""

PITCH_HZ = {"beach": 300.0, "forest": 1200.0, "harbour": 4000.0}


def write_image(path: Path, colour: tuple[int, int, int], generator: np.random.Generator) -> None:
    """40 × 40 pixels around a colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.array(colour) + generator.normal(0, 25, (40, 40, 3))
    cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8))


def tone(pitch_hz: float, generator: np.random.Generator, seconds: float = 1.0) -> NDArray[np.float64]:
    """A tone in noise."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.3 * np.sin(2 * np.pi * pitch_hz * times) + generator.normal(0, 0.02, len(times))


def write_sound(path: Path, pitch_hz: float, generator: np.random.Generator) -> None:
    """A second of a tone, as 16-bit WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(pitch_hz, generator), RATE_HZ)


def write_advance(root: Path, *, locations: int = 8, clips: int = 2) -> Path:
    """Three classes in ADVANCE's official layout, `clips` of each location."""
    generator = np.random.default_rng(0)
    for number, (name, colour) in enumerate(SCENES.items()):
        for place in range(locations):
            for clip in range(clips):
                stem = f"{100 * number + place:05d}" + (f"_{clip}" if clip else "")
                write_image(root / "vision" / name / f"{stem}.jpg", colour, generator)
                write_sound(root / "sound" / name / f"{stem}.wav", PITCH_HZ[name], generator)
    return root


def write_table(root: Path, *, recordings: int = 8, clips: int = 2) -> Path:
    """The same scenes as metadata.csv with columns scene, recording and description (which sounds are heard)."""
    generator = np.random.default_rng(1)
    rows = []
    for number, (name, colour) in enumerate(SCENES.items()):
        for i in range(recordings * clips):
            key = str(1000 * (number + 1) + i)
            write_image(root / "images" / f"{key}.jpg", colour, generator)
            write_sound(root / "audio" / f"{key}.wav", PITCH_HZ[name], generator)
            event = "low" if name == "beach" else "high"
            rows.append([key, f"{key}.wav", name, f"{name}-{i // clips}", event])
    with (root / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["key", "mp3name", "scene", "recording", "description"], *rows])
    return root


def write_events(root: Path, *, sounds: int = 12) -> Path:
    """A folder of classes: low, middle and high tones."""
    generator = np.random.default_rng(2)
    for name, pitch_hz in (("low", 300.0), ("middle", 1200.0), ("high", 4000.0)):
        for i in range(sounds):
            write_sound(root / name / f"{name}_{i}.wav", pitch_hz, generator)
    return root
