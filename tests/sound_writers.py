"""Sound files of many containers, as libsndfile and FFmpeg write them."""

from __future__ import annotations

import io
from pathlib import Path

import av
import numpy as np
import soundfile


def tone(seconds: float, rate_hz: int, hertz: float = 1000.0) -> np.ndarray:
    """A tone with a little noise, float32 (samples,)."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(0).standard_normal(len(time))
    return (0.4 * np.sin(2 * np.pi * hertz * time) + 0.01 * noise).astype(np.float32)


def sndfile_bytes(
    samples: np.ndarray, rate_hz: int, container: str, subtype: str | None = None, **options: str
) -> bytes:
    """Contents of a file that libsndfile writes; `samples` has the shape (samples,) or (samples, channels)."""
    memory = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(memory, "w", rate_hz, channels, subtype, format=container, **options) as file:
        for start in range(0, len(samples), 2**16):  # libsndfile's Vorbis encoder crashes on long pieces
            file.write(samples[start : start + 2**16])
    return memory.getvalue()


def write_with_ffmpeg(path: Path, samples: np.ndarray, rate_hz: int, codec: str, container: str | None = None) -> Path:
    """Encodes mono samples, float32 (samples,), with FFmpeg; the container follows from the suffix by default."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate_hz)
        stream.layout = "mono"
        stream.bit_rate = 64_000
        whole = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        whole.sample_rate, whole.pts = rate_hz, 0
        waiting = av.AudioFifo()
        for frame in av.AudioResampler(stream.codec_context.format, "mono", rate_hz).resample(whole):
            waiting.write(frame)
        length = stream.codec_context.frame_size or 1024
        while (frame := waiting.read(length, partial=True)) is not None:
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path
