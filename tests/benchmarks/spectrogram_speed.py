"""How many seconds of sound one core turns into stored spectrograms a second, by stage: python THIS [--seconds N]."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own folder is there already, not tests/

import numpy as np
import soxr
from benchmarks.sound_of_noise import RATE_HZ, write_sound
from rich.console import Console
from rich.table import Table

from shards.decoding.audio_decoding import decode_recording, encode_preview
from shards.decoding.channels import Mix
from shards.decoding.sound_files import in_chunks, opened
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.schema import SpectrogramSettings

SETTINGS = SpectrogramSettings()


def fastest(action: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest run: what the machine does when nobody else is using it."""
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return min(taken)


def decode(path: Path) -> np.ndarray:
    """The file as mono at its own rate."""
    with opened(path) as sound:
        mix = Mix()
        return np.concatenate([mix(chunk) for _, chunk in in_chunks((0, block) for block in sound.even_blocks())])


def transform(waveform: np.ndarray) -> None:
    """The mel stage alone."""
    stream = SpectrogramStream(SETTINGS)
    stream.push(waveform)
    stream.finish()


def decode_and_preview(path: Path) -> None:
    """What a build does with a recording."""
    preview = decode_recording(path, SETTINGS).preview
    assert preview is not None
    encode_preview(preview)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="length of the generated recording")
    parser.add_argument("--repeats", type=int, default=5, help="the fastest of so many runs counts")
    options = parser.parse_args()
    print(f"times real time on one core, {options.seconds} s of 44.1 kHz stereo")
    table = Table()
    table.add_column("stage")
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, subtype in (("recording.mp3", "MPEG_LAYER_III"), ("recording.wav", "PCM_16")):
            path = Path(folder) / name
            write_sound(path, options.seconds, subtype)
            mono = decode(path)
            waveform = soxr.resample(mono, RATE_HZ, 16_000)
            preview = waveform[: 10 * 16_000]
            stages: dict[str, Callable[[], object]] = {
                "decode to mono": partial(decode, path),
                "resample to 16 kHz": partial(soxr.resample, mono, RATE_HZ, 16_000),
                "log-mel spectrogram": partial(transform, waveform),
                "decode_recording": partial(decode_recording, path, SETTINGS),
                "encode_preview (10 s)": partial(encode_preview, preview),
                "all in all": partial(decode_and_preview, path),
            }
            table.add_column(path.suffix[1:].upper(), justify="right")
            for stage, action in stages.items():
                speed = options.seconds / fastest(action, options.repeats)
                rows.setdefault(stage, []).append(f"{speed:,.0f}")
    for stage, speeds in rows.items():
        table.add_row(stage, *speeds)
    Console().print(table)


if __name__ == "__main__":
    main()
