"""Writes clips in TAU's layout as real WAV and MP4 files: half the classes differ in sound, half in the image."""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

from downstream.tau.benchmark import (
    CLASSES,
    EVALUATE_NAME,
    META_NAME,
    SETUP,
    TEST_NAME,
    TRAIN_NAME,
)
from shards.atomic_files import write_text_atomically
from shards.errors import UserError
from shards.progress import ProgressLine

SECONDS, SAMPLE_RATE_HZ, PICTURES_PER_SECOND = 10, 48_000, 4
HEIGHT, WIDTH = 64, 96
NUM_CUES = 5
"""The first five classes have a tone each and the same grey street, the others a colour each and the same hiss."""

LOWEST_TONE_HZ = 250.0
TRAIN_CLIPS, TEST_CLIPS = 6, 2
CLIPS_OF_LOCATION = 2


def write_demo(root: Path, *, train_clips: int = TRAIN_CLIPS, test_clips: int = TEST_CLIPS, seed: int = 0) -> None:
    """Writes a set in which no single modality tells all classes apart.

    From sound alone the last five classes are one, from pictures alone the first five: a perfect listener, or viewer,
    that guesses among these is right in (5 + 5 · 1/5)/10 = 60 % of the segments; both together in all.

    Args:
        root: made by this function, unless it is there and empty.
        train_clips, test_clips: of each class.
        seed: fixes all that is random.

    Raises:
        UserError: `root` holds something already.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UserError(
            f"root {root} holds something else than a set in TAU's layout, with {META_NAME}; name an empty folder to "
            "write the demo's to"
        )
    for folder in ("audio", "video", SETUP):
        (root / folder).mkdir(parents=True)
    tables: dict[str, list[str]] = {"train": [], "test": []}
    lines = []
    clips = list(_clips(train_clips, test_clips))
    with ProgressLine("writing clips", len(clips)) as progress:
        for number, (fold, label, key, location) in enumerate(clips):
            generator = np.random.default_rng((seed, number))
            names = (f"audio/{key}.wav", f"video/{key}.mp4")
            soundfile.write(root / names[0], _sound(label, generator), SAMPLE_RATE_HZ, subtype="PCM_16")
            write_video(root / names[1], pictures(label, generator))
            tables[fold].append("\t".join((*names, CLASSES[label])))
            lines.append("\t".join((*names, CLASSES[label], location)))
            progress.advance()
    header = "filename_audio\tfilename_video"
    _write_table(root / TRAIN_NAME, f"{header}\tscene_label", tables["train"])
    _write_table(root / EVALUATE_NAME, f"{header}\tscene_label", tables["test"])
    _write_table(root / TEST_NAME, header, [line.rpartition("\t")[0] for line in tables["test"]])
    # The last: a folder that has it is whole.
    _write_table(root / META_NAME, f"{header}\tscene_label\tidentifier", lines)


def _clips(train_clips: int, test_clips: int) -> Iterator[tuple[str, int, str, str]]:
    """Fold, label, key and location of each clip; the folds share no location."""
    for label, name in enumerate(CLASSES):
        for number in range(train_clips + test_clips):
            fold, city = ("train", "lyon") if number < train_clips else ("test", "vienna")
            location = f"{city}-{1000 + 100 * label + number // CLIPS_OF_LOCATION}"
            yield fold, label, f"{name}-{location}-{number:05d}", location


def _sound(label: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """(samples, 2): hiss, and of the first five classes a tone, an octave above that of the class before."""
    num_samples = SECONDS * SAMPLE_RATE_HZ
    hiss = generator.uniform(0.01, 0.03) * generator.standard_normal((num_samples, 2), dtype=np.float32)
    if label >= NUM_CUES:
        return np.asarray(hiss, dtype=np.float32)
    frequency = LOWEST_TONE_HZ * 2**label * generator.uniform(0.95, 1.05)
    phase = 2 * np.pi * (frequency * np.arange(num_samples) / SAMPLE_RATE_HZ + generator.uniform())
    tone = generator.uniform(0.1, 0.2) * np.sin(phase)
    return (hiss + tone[:, None] * generator.uniform(0.5, 1.0, 2)).astype(np.float32)


def pictures(label: int, generator: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """The frames of a clip, (height, width, 3) each: moving stripes, of the last five classes in a colour each."""
    saturation = 0.9 if label >= NUM_CUES else 0.0
    colour = np.array(colorsys.hsv_to_rgb((label % NUM_CUES) / NUM_CUES, saturation, 1.0))
    brightness, width = generator.uniform(120, 220), generator.uniform(6, 20)
    for number in range(SECONDS * PICTURES_PER_SECOND):
        stripes = 0.75 + 0.25 * np.sin(2 * np.pi * (np.arange(WIDTH) + number) / width)
        frame = brightness * stripes[None, :, None] * colour + generator.normal(0, 8, (HEIGHT, WIDTH, 3))
        yield np.clip(frame, 0, 255).astype(np.uint8)


def write_video(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Writes frames, (height, width, 3) RGB with even sides, as MPEG-4 in an MP4 file, four a second."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=PICTURES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _write_table(path: Path, header: str, lines: list[str]) -> None:
    write_text_atomically(path, "\n".join((header, *lines)) + "\n")
