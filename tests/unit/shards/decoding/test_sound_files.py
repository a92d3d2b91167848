"""Sound files of every container: read whole, counted rather than believed, refused by the true reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sound_writers import sndfile_bytes, tone, write_with_ffmpeg

from shards.decoding.audio_decoding import decode_recording
from shards.decoding.sound_files import opened
from shards.errors import RejectedPair
from shards.schema import SpectrogramSettings

SETTINGS = SpectrogramSettings()
RATE_HZ = 16_000

SNDFILE = ["WAV", "RF64", "AIFF", "AU", "CAF", "W64", "FLAC", "OGG", "MP3"]
FFMPEG = {
    "aac.m4a": ("aac", "ipod", 44_100),
    "alac.m4a": ("alac", "ipod", 44_100),
    "aac.3gp": ("aac", "3gp", 16_000),
    "pcm.mov": ("pcm_s16le", "mov", 44_100),
    "adts.aac": ("aac", "adts", 44_100),
    "v2.wma": ("wmav2", "asf", 44_100),
    "opus.webm": ("libopus", "webm", 48_000),
    "opus.ogg": ("libopus", "ogg", 48_000),
    "nb.amr": ("libopencore_amrnb", "amr", 8_000),
    "adpcm.wav": ("adpcm_ima_wav", "wav", 44_100),
    "layer2.mp2": ("mp2", "mp2", 44_100),
    "piped.flac": ("flac", "flac", 44_100),
}
WITHOUT_STATED_LENGTH = {"adts.aac", "nb.amr", "layer2.mp2"}
"""Streams of frames, of which any number is whole."""


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """All samples of the first channel, and the rate."""
    with opened(path) as sound:
        return np.concatenate(list(sound.even_blocks()), axis=1)[0], sound.rate_hz


def rejection(path: Path) -> str:
    with pytest.raises(RejectedPair) as raised:
        decode_recording(path, SETTINGS)
    assert raised.value.reason == "undecodable sound"
    assert path.name in raised.value.detail
    return raised.value.detail


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("container", SNDFILE)
def test_every_container_of_libsndfile_gives_the_written_sound(tmp_path: Path, container: str) -> None:
    samples = tone(3.0, RATE_HZ)
    found, rate_hz = decoded(write(tmp_path / "a.bin", sndfile_bytes(samples, RATE_HZ, container)))
    assert rate_hz == RATE_HZ
    assert len(found) == len(samples)
    error = np.abs(found - samples)[2000:-2000].max()
    assert error < (0.05 if container in ("OGG", "MP3") else 2**-14)


@pytest.mark.parametrize("name", FFMPEG)
def test_every_container_of_ffmpeg_gives_the_written_sound(tmp_path: Path, name: str) -> None:
    codec, container, rate_hz = FFMPEG[name]
    path = write_with_ffmpeg(tmp_path / name, tone(3.0, rate_hz), rate_hz, codec, container)
    recording = decode_recording(path, SETTINGS)
    assert recording.seconds == pytest.approx(3.0, abs=0.1)
    reference = decode_recording(
        write(tmp_path / "reference.wav", sndfile_bytes(tone(3.0, 16_000), 16_000, "WAV")), SETTINGS
    )
    bands = [found.spectrogram[:, 20:100].mean(axis=1).argmax() for found in (recording, reference)]
    assert bands[0] == bands[1]
    assert recording.counts.decoder.startswith("ffmpeg ")


@pytest.mark.parametrize("container", SNDFILE)
@pytest.mark.parametrize("share", [0.45, 0.8])
def test_a_file_that_was_cut_says_where_it_ends(tmp_path: Path, container: str, share: float) -> None:
    content = sndfile_bytes(tone(20.0, RATE_HZ), RATE_HZ, container)
    detail = rejection(write(tmp_path / "a.bin", content[: int(share * len(content))]))
    assert "ends after" in detail or "cut short after" in detail
    seconds = float(detail.split(" after ")[1].split(" s")[0])
    assert seconds == pytest.approx(20 * share, abs=3.5)  # Ogg is cut at its last whole page


@pytest.mark.parametrize("name", sorted(FFMPEG.keys() - WITHOUT_STATED_LENGTH))
def test_a_file_of_ffmpeg_that_was_cut_is_refused(tmp_path: Path, name: str) -> None:
    codec, container, rate_hz = FFMPEG[name]
    path = write_with_ffmpeg(tmp_path / name, tone(8.0, rate_hz), rate_hz, codec, container)
    content = path.read_bytes()
    detail = rejection(write(path, content[: len(content) * 6 // 10]))
    assert any(words in detail for words in ("ends after", "cut short after", "damaged after", "readable index")), (
        detail
    )


@pytest.mark.parametrize("name", sorted(WITHOUT_STATED_LENGTH))
def test_a_stream_that_states_no_length_is_what_is_there(tmp_path: Path, name: str) -> None:
    codec, container, rate_hz = FFMPEG[name]
    path = write_with_ffmpeg(tmp_path / name, tone(8.0, rate_hz), rate_hz, codec, container)
    content = path.read_bytes()
    write(path, content[: len(content) // 2])
    assert decode_recording(path, SETTINGS).seconds == pytest.approx(4.0, abs=0.2)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_that_was_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    content = bytearray(sndfile_bytes(tone(6.0, RATE_HZ), RATE_HZ, "WAV"))
    for at in (4, content.index(b"data") + 4):
        content[at : at + 4] = size.to_bytes(4, "little")
    recording = decode_recording(write(tmp_path / "a.wav", bytes(content)), SETTINGS)
    assert recording.seconds == pytest.approx(6.0)
    assert recording.preview is not None
    assert len(recording.preview) == 6 * 16_000


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    content = bytearray(sndfile_bytes(tone(30.0, RATE_HZ), RATE_HZ, "FLAC"))
    content[21] &= 0xF0  # the 36 bits of the number of samples
    content[22:26] = bytes(4)
    path = write(tmp_path / "a.flac", bytes(content))
    recording = decode_recording(path, SETTINGS)
    assert recording.seconds == pytest.approx(30.0)
    assert np.array_equal(recording.preview, decoded(path)[0][160_000:320_000])
    assert decode_recording(path, SETTINGS, max_seconds=20.0).used_seconds == pytest.approx(20.0)


@pytest.mark.parametrize("loud_first", [True, False])
@pytest.mark.parametrize("rate_hz", [44_100, 22_050, 8_000])
@pytest.mark.parametrize("lacks", ["frames", "number", "tag"])
def test_an_mp3_whose_tag_states_no_length_is_read_to_its_end(
    tmp_path: Path, lacks: str, rate_hz: int, loud_first: bool
) -> None:
    samples = 0.2 * np.random.default_rng(0).standard_normal(rate_hz * 12)
    samples[: rate_hz * 6] *= 1.0 if loud_first else 1e-3
    samples[rate_hz * 6 :] *= 1e-3 if loud_first else 1.0
    content = bytearray(sndfile_bytes(samples, rate_hz, "MP3", bitrate_mode="VARIABLE"))
    at = content.index(b"Xing")
    if lacks == "frames":
        content[at + 8 : at + 12] = bytes(4)
    elif lacks == "number":
        content[at + 7] &= ~1
    else:
        content = content[content.index(content[:2], 4) :]
    path = write(tmp_path / "a.mp3", bytes(content))
    assert decode_recording(path, SETTINGS).seconds == pytest.approx(12.0, abs=0.2)
    assert decode_recording(path, SETTINGS, max_seconds=10.0).used_seconds == pytest.approx(10.0)


def test_the_picture_in_an_mp3_is_no_sound(tmp_path: Path) -> None:
    content = sndfile_bytes(tone(20.0, RATE_HZ), RATE_HZ, "MP3", bitrate_mode="CONSTANT")
    frames = content[content.index(content[:2], 4) :]  # without the tag that states the length
    size = 100_000
    tag = b"ID3\4\0\0" + bytes(size >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(size)
    path = write(tmp_path / "a.mp3", tag + frames)
    assert decode_recording(path, SETTINGS).seconds == pytest.approx(20.0, abs=0.2)
    assert not decode_recording(path, SETTINGS, max_seconds=20.5).was_shortened


@pytest.mark.parametrize(
    ("container", "options"),
    [("OGG", {}), ("FLAC", {}), ("MP3", {"bitrate_mode": "VARIABLE"}), ("MP3", {"bitrate_mode": "CONSTANT"})],
)
@pytest.mark.parametrize("max_seconds", [600.0, 9.0])
def test_files_that_were_joined_are_read_whole(
    tmp_path: Path, container: str, options: dict[str, str], max_seconds: float
) -> None:
    parts = [
        sndfile_bytes(tone(s, RATE_HZ, hertz), RATE_HZ, container, **options) for s, hertz in ((8, 440), (5, 3000))
    ]
    path = write(tmp_path / "a.bin", b"".join(parts))
    recording = decode_recording(path, SETTINGS, max_seconds=max_seconds)
    assert recording.seconds == pytest.approx(13.0, abs=0.2)
    loudest = recording.spectrogram.argmax(axis=0)
    assert loudest[10] < loudest[-10]


def test_joined_mp3s_of_other_rate_and_channels_keep_their_pitch(tmp_path: Path) -> None:
    stereo = np.stack([tone(5.0, 44_100)] * 2, axis=1)
    parts = [sndfile_bytes(tone(8.0, RATE_HZ), RATE_HZ, "MP3"), sndfile_bytes(stereo, 44_100, "MP3")]
    recording = decode_recording(write(tmp_path / "a.bin", b"".join(parts)), SETTINGS)
    assert recording.seconds == pytest.approx(13.0, abs=0.2)
    assert recording.spectrogram[:, 100].argmax() == recording.spectrogram[:, -100].argmax()


@pytest.mark.parametrize("container", ["OGG", "FLAC"])
def test_joined_files_of_another_rate_are_refused_by_name(tmp_path: Path, container: str) -> None:
    parts = [sndfile_bytes(tone(4.0, rate_hz), rate_hz, container) for rate_hz in (16_000, 44_100)]
    assert "joined; save each as a file of its own" in rejection(write(tmp_path / "a.bin", b"".join(parts)))


@pytest.mark.parametrize("container", ["MP3", "FLAC", "OGG"])
@pytest.mark.parametrize("place", [0.4, 0.6])
def test_a_small_hole_is_noticed(tmp_path: Path, container: str, place: float) -> None:
    noise = 0.2 * np.random.default_rng(2).standard_normal((RATE_HZ * 10, 2))
    content = bytearray(sndfile_bytes(noise, RATE_HZ, container))
    at = int(place * len(content))
    content[at : at + 1500] = bytes(1500)
    rejection(write(tmp_path / "a.bin", bytes(content)))


@pytest.mark.parametrize(
    "playlist", ["#EXTM3U\n#EXTINF:5,\na.wav\n", "ffconcat version 1.0\nfile a.wav\n", "[playlist]\nFile1=a.wav\n"]
)
def test_a_playlist_opens_no_other_file(tmp_path: Path, playlist: str) -> None:
    write(tmp_path / "a.wav", sndfile_bytes(tone(4.0, RATE_HZ), RATE_HZ, "WAV"))
    for name in ("b.wav", "b.m3u8"):
        assert "not a sound file" in rejection(write(tmp_path / name, playlist.encode()))


@pytest.mark.parametrize("name", ["concat:a.wav|a.wav", "http:a.wav", "a%03d.wav", "a\n.wav", "-i.wav", "ünï ☃.wav"])
def test_a_name_is_only_a_name(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, sndfile_bytes(tone(4.0, RATE_HZ), RATE_HZ, "WAV"))
    assert decode_recording(path, SETTINGS).seconds == pytest.approx(4.0)


def test_a_film_without_sound_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for _ in range(3):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(stream.encode(None))
    assert "no sound track" in rejection(path)


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damage",
    [lambda content: content + bytes(500), lambda content: content + b"TAG" + bytes(125)],
    ids=["zeros", "id3v1"],
)
@pytest.mark.parametrize("container", ["WAV", "MP3", "FLAC", "OGG"])
def test_what_follows_the_sound_does_not_matter(tmp_path: Path, container: str, damage: Damage) -> None:
    content = damage(sndfile_bytes(tone(6.0, RATE_HZ), RATE_HZ, container))
    recording = decode_recording(write(tmp_path / "a.bin", content), SETTINGS)
    assert recording.seconds == pytest.approx(6.0, abs=0.1)
