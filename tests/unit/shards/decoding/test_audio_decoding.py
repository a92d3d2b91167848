"""Sound files of every kind to spectrograms: rates, channels, damage, long recordings, memory and real files."""

from __future__ import annotations

import io
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sound_writers import tone, write_with_ffmpeg

from shards.decoding.audio_decoding import decode_recording, encode_preview, evenly_spread_parts
from shards.decoding.spectrogram_stream import SpectrogramStream
from shards.errors import RejectedPair
from shards.schema import SpectrogramSettings

SETTINGS = SpectrogramSettings()
SUBTYPES = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III"}


def write(path: Path, samples: np.ndarray, rate: int, subtype: str | None = None) -> Path:
    kind = path.suffix[1:].upper()
    num_channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(path, "w", rate, num_channels, subtype or SUBTYPES[kind], format=kind) as file:
        for start in range(0, len(samples), 2**16):  # libsndfile's Vorbis encoder crashes on long pieces
            file.write(samples[start : start + 2**16])
    return path


def rejection(path: Path, **options: float) -> RejectedPair:
    with pytest.raises(RejectedPair) as raised:
        decode_recording(path, SETTINGS, **options)
    assert path.name in raised.value.detail
    return raised.value


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_every_rate_gives_the_same_sound(tmp_path: Path, rate: int) -> None:
    recording = decode_recording(write(tmp_path / "a.wav", tone(6.0, rate), rate), SETTINGS)
    expected = decode_recording(write(tmp_path / "b.wav", tone(6.0, 16_000), 16_000), SETTINGS)
    assert recording.spectrogram.shape == expected.spectrogram.shape == (128, 1 + (96_000 - 1024) // 400)
    assert recording.spectrogram.dtype == np.uint8
    assert recording.spectrogram.flags.f_contiguous
    assert recording.seconds == recording.used_seconds == pytest.approx(6.0)
    loudest = expected.spectrogram[:, 100].argmax()
    inner = slice(5, -5)
    assert (recording.spectrogram[:, inner].argmax(axis=0) == loudest).all()
    difference = recording.spectrogram[loudest, inner].astype(int) - expected.spectrogram[loudest, inner]
    assert np.abs(difference).max() <= 1


def test_a_file_at_16_khz_is_its_samples(tmp_path: Path) -> None:
    samples = tone(5.0, 16_000)
    recording = decode_recording(write(tmp_path / "a.wav", samples, 16_000, "FLOAT"), SETTINGS)
    stream = SpectrogramStream(SETTINGS)
    expected = np.concatenate([stream.push(samples), stream.finish()], axis=1)
    assert np.array_equal(recording.spectrogram, expected)
    assert np.array_equal(recording.preview, samples)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format(tmp_path: Path, subtype: str) -> None:
    expected = decode_recording(write(tmp_path / "a.wav", tone(4.0, 44_100), 44_100, "FLOAT"), SETTINGS)
    recording = decode_recording(write(tmp_path / "b.wav", tone(4.0, 44_100), 44_100, subtype), SETTINGS)
    difference = np.abs(recording.spectrogram.astype(int) - expected.spectrogram)
    assert np.median(difference) <= (10 if subtype == "PCM_U8" else 0)


def test_a_long_recording_is_represented_by_evenly_spread_parts(tmp_path: Path) -> None:
    rate, max_seconds = 16_000, 60.0
    pitch = np.repeat(np.geomspace(200, 6000, 300), rate)  # one second of each pitch
    samples = (0.5 * np.sin(2 * np.pi * np.cumsum(pitch) / rate)).astype(np.float32)
    path = write(tmp_path / "a.flac", samples, rate)
    recording = decode_recording(path, SETTINGS, max_seconds=max_seconds)
    assert recording.was_shortened
    assert recording.seconds == pytest.approx(300.0)
    assert recording.used_seconds == max_seconds
    parts = []
    for start, length in evenly_spread_parts(len(samples), rate, max_seconds):
        stream = SpectrogramStream(SETTINGS)
        stored = soundfile.read(path, start=start, frames=length, dtype="float32")[0]
        parts += [stream.push(stored), stream.finish()]
    assert np.array_equal(recording.spectrogram, np.concatenate(parts, axis=1))
    assert recording.preview is not None
    assert len(recording.preview) == 160_000
    assert not decode_recording(path, SETTINGS, max_seconds=300.0).was_shortened


@pytest.mark.parametrize(
    ("num_frames", "rate", "max_seconds"),
    [(7200 * 44_100, 44_100, 600.0), (1_000_003, 11_025, 30.7), (16_001, 16_000, 1)],
)
def test_parts_are_disjoint_equal_and_sum_to_the_limit(num_frames: int, rate: int, max_seconds: float) -> None:
    parts = evenly_spread_parts(num_frames, rate, max_seconds)
    lengths = [length for _, length in parts]
    assert sum(lengths) == round(max_seconds * rate)
    assert max(lengths) - min(lengths) <= 1
    gaps = np.diff([0, *[edge for start, length in parts for edge in (start, start + length)], num_frames])[::2]
    assert gaps.min() >= 0
    assert np.ptp(gaps[1:-1]) <= 2 if len(parts) > 2 else True
    assert abs(gaps[0] - gaps[-1]) <= 2
    assert evenly_spread_parts(num_frames, rate, num_frames / rate) == [(0, num_frames)]


@pytest.mark.parametrize("suffix", ["mp3", "ogg"])
def test_parts_of_compressed_files_are_where_they_should_be(tmp_path: Path, suffix: str) -> None:
    generator = np.random.default_rng(5)
    loudness = np.repeat(generator.uniform(0.01, 0.5, 90), 44_100)
    path = write(tmp_path / f"a.{suffix}", loudness * generator.standard_normal(len(loudness)) / 4, 44_100)
    everything = decode_recording(path, SETTINGS, max_seconds=1000.0)
    shortened = decode_recording(path, SETTINGS, max_seconds=20.0)
    assert shortened.spectrogram.shape[1] == 2 * (1 + (160_000 - 1024) // 400)
    first = shortened.spectrogram[:, : shortened.spectrogram.shape[1] // 2].astype(int)
    start, _ = evenly_spread_parts(len(loudness), 44_100, 20.0)[0]
    frame = round(start / 44_100 * 40)
    same = everything.spectrogram[:, frame : frame + first.shape[1]].astype(int)
    shifted = everything.spectrogram[:, frame + 20 : frame + 20 + first.shape[1]].astype(int)
    assert np.abs(first - same).mean() < 0.5 * np.abs(first - shifted).mean()
    assert np.abs(first.mean(axis=0) - same.mean(axis=0)).max() < 25  # no frame is garbled by the seek


@pytest.mark.parametrize(("num_samples", "is_long_enough"), [(0, False), (5, False), (1023, False), (1024, True)])
def test_under_one_window_is_too_short(tmp_path: Path, num_samples: int, is_long_enough: bool) -> None:
    path = write(tmp_path / "a.wav", tone(1.0, 16_000)[:num_samples], 16_000)
    if not is_long_enough:
        assert rejection(path).reason == "sound too short"
        return
    recording = decode_recording(path, SETTINGS)
    assert recording.was_repeated
    assert recording.spectrogram.shape == (128, 128)
    assert (recording.spectrogram == recording.spectrogram[:, :1]).all()


@pytest.mark.parametrize(("peak", "is_silent"), [(0.0, True), (6e-5, True), (2e-4, False)])
def test_silence_is_kept_and_flagged(tmp_path: Path, peak: float, is_silent: bool) -> None:
    samples = np.where(np.arange(80_000) % 50 < 25, peak, -peak)
    recording = decode_recording(write(tmp_path / "a.wav", samples, 16_000), SETTINGS)
    assert recording.is_silent is is_silent
    assert recording.spectrogram.shape[1] > 128


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_rejected(tmp_path: Path, value: float) -> None:
    samples = np.stack([tone(3.0, 44_100)] * 2, axis=1)
    samples[100_000, 1] = value
    raised = rejection(write(tmp_path / "a.wav", samples, 44_100, "FLOAT"))
    assert raised.reason == "undecodable sound"
    assert "non-finite" in raised.detail


@pytest.mark.parametrize(
    "content", [b"", b"Placeholder", bytes(4000), b"RIFF", b"ID3\4\0\0\0\0\0\0", b"\xff\xfb\x90\0" * 9]
)
def test_what_is_no_sound_is_undecodable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert rejection(path).reason == "undecodable sound"


def test_missing_sound(tmp_path: Path) -> None:
    assert rejection(tmp_path / "a.mp3").reason == "missing sound"
    (tmp_path / "folder.wav").mkdir()
    assert rejection(tmp_path / "folder.wav").reason == "missing sound"


def test_absurd_sampling_rate_is_undecodable(tmp_path: Path) -> None:
    raised = rejection(write(tmp_path / "a.wav", tone(1.0, 16_000), 3))
    assert raised.detail.endswith("sampling rate 3 Hz")


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg"])
def test_a_hole_in_a_file_is_undecodable(tmp_path: Path, suffix: str) -> None:
    generator = np.random.default_rng(2)
    path = write(tmp_path / f"a.{suffix}", 0.2 * generator.standard_normal((44_100 * 10, 2)), 44_100)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 20_000] = bytes(20_000)
    path.write_bytes(content)
    assert rejection(path).reason == "undecodable sound"


def test_previews_are_the_middle_and_have_the_same_bytes_each_time(tmp_path: Path) -> None:
    samples = np.linspace(-0.9, 0.9, 16_000 * 30).astype(np.float32)
    preview = decode_recording(write(tmp_path / "a.wav", samples, 16_000, "FLOAT"), SETTINGS).preview
    assert np.array_equal(preview, samples[160_000:320_000])
    encoded = encode_preview(preview)
    assert encoded == encode_preview(preview.copy())
    (tmp_path / "preview.mp3").write_bytes(encoded)
    decoded, rate = soundfile.read(tmp_path / "preview.mp3")
    assert rate == 16_000
    assert decoded.shape == (160_000,)
    assert decode_recording(tmp_path / "a.wav", SETTINGS, with_preview=False).preview is None


def test_previews_sound_like_the_recording() -> None:
    waveform = tone(4.0, 16_000)
    decoded, _ = soundfile.read(io.BytesIO(encode_preview(waveform)), dtype="float32")
    assert np.corrcoef(decoded[1000:-1000], waveform[1000:-1000])[0, 1] > 0.99


def test_awkward_files_are_decoded_or_rejected_with_a_reason(real_data: Path) -> None:
    reasons = {}
    for path in sorted((real_data / "awkward_audio").iterdir()):
        try:
            assert decode_recording(path, SETTINGS).spectrogram.shape[1] >= 128
            reasons[path.name] = "used"
        except RejectedPair as rejected:
            reasons[path.name] = rejected.reason
    assert len(reasons) == 24
    too_short = {"00_odd.wav", "02_odd.wav"}
    for name, reason in reasons.items():
        expected = "undecodable sound" if "undecodable" in name else "sound too short" if name in too_short else "used"
        assert reason == expected, name


def test_real_recordings_decode_and_use_the_scale_well(real_data: Path) -> None:
    paths = sorted((real_data / "soundmap").glob("*.mp3"))
    assert len(paths) == 11
    recordings = [decode_recording(path, SETTINGS) for path in paths]
    stored = np.concatenate([recording.spectrogram for recording in recordings], axis=1)
    assert 0.3 < np.median(stored) / 255 < 0.7
    assert (stored == 0).mean() < 0.05
    assert (stored == 255).mean() < 1e-4
    assert not any(recording.is_silent or recording.was_shortened for recording in recordings)


def test_real_soundscapes_decode(real_data: Path) -> None:
    for suffix in ("mp3", "ogg", "flac", "wav"):
        paths = sorted((real_data / "soundscapes" / "audio").glob(f"*.{suffix}"))
        assert paths, suffix
        for path in paths[::12]:
            recording = decode_recording(path, SETTINGS)
            assert recording.seconds == pytest.approx(soundfile.info(path).duration, abs=0.3)


def two_hours(path: Path) -> Path:
    """A file of two hours in the format of the suffix."""
    kind = path.suffix[1:].upper()
    minute = 0.1 * np.random.default_rng(0).standard_normal((44_100 * 60, 2))
    if kind == "WAV":
        write(path, minute[:0], 44_100)
        header = bytearray(path.read_bytes())
        size = 7200 * 44_100 * 4
        header[4:8], header[-4:] = (len(header) - 8 + size).to_bytes(4, "little"), size.to_bytes(4, "little")
        with path.open("wb") as file:
            file.write(header)
            file.truncate(len(header) + size)
    elif kind == "M4A":
        write_with_ffmpeg(path, np.tile(minute[: 8_000 * 60, 0], 120).astype(np.float32), 8_000, "aac", "ipod")
    else:
        content = write(path, minute, 44_100).read_bytes()
        if kind == "MP3":
            content = content[content.index(content[:2], 4) :]  # without the frame that states a length
        path.write_bytes(content * 120)
    return path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("suffix", "max_seconds"),
    [("mp3", "600.0"), ("mp3", "math.inf"), ("wav", "600.0"), ("flac", "600.0"), ("ogg", "600.0"), ("m4a", "600.0")],
)
def test_two_hours_take_no_more_than_200_mb(tmp_path: Path, suffix: str, max_seconds: str) -> None:
    path = two_hours(tmp_path / f"a.{suffix}")
    program = f"""
        import math
        from pathlib import Path
        import shards.decoding.spectrogram_stream  # torch itself takes more, once
        from shards.decoding.audio_decoding import decode_recording
        from shards.schema import SpectrogramSettings
        def peak_kib():  # of this program; getrusage would count the process that started it
            status = Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0])
        before = peak_kib()
        recording = decode_recording(Path({str(path)!r}), SpectrogramSettings(), max_seconds={max_seconds})
        print((peak_kib() - before) / 1024, recording.seconds, recording.spectrogram.shape[1])
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[4],
    )
    mebibytes, seconds, num_frames = map(float, output.stdout.split())
    assert seconds == pytest.approx(7200, abs=10)
    assert num_frames == pytest.approx(24_000 if max_seconds == "600.0" else 288_000, rel=0.01)
    assert mebibytes < 200


def test_limits_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_seconds must be > 0, got 0"):
        decode_recording(tmp_path / "a.wav", SETTINGS, max_seconds=0.0)
