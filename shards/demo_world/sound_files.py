"""Recordings as files: MP3, OGG, FLAC and WAV, whose bytes depend on nothing but the samples."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import soundfile

from shards.demo_world.noises import Wave

SAMPLE_RATES_HZ = (16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Rates that an MP3 can have and that hold the highest bird."""

_FORMATS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
}
_SHARES = {"mp3": 0.25, "ogg": 0.15, "flac": 0.4, "wav": 0.2}
"""MP3 takes 34 ms to encode six seconds, OGG 16 ms, FLAC 2 ms and WAV 1 ms, where all the rest of a place takes 55."""

_STEREO_SHARE = 0.1


def draw_format(generator: np.random.Generator) -> tuple[str, int]:
    """File name extension and number of channels of a recording, as a recordist would happen to have them."""
    extension = str(generator.choice(list(_SHARES), p=list(_SHARES.values())))
    return extension, 2 if generator.random() < _STEREO_SHARE else 1


def write_sound(path: Path, samples: Wave, sample_rate_hz: int, extension: str) -> None:
    """Writes samples, (num_samples, num_channels), in the format that an extension stands for; no tags.

    Raises:
        OSError: the file can't be written, such as on a full disk (libsndfile would say less of it).
    """
    container, encoding = _FORMATS[extension]
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate_hz, format=container, subtype=encoding)
    encoded = buffer.getvalue()
    path.write_bytes(_with_serial_number_zero(encoded) if extension == "ogg" else encoded)


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)
        table.append(crc & 0xFFFFFFFF)
    return table


_CRC_TABLE = _crc_table()


def _ogg_checksum(page: bytes) -> int:
    """The checksum of an Ogg page whose checksum field is zero (RFC 3533, section 6)."""
    crc = 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ _CRC_TABLE[(crc >> 24) ^ byte]
    return crc


def _with_serial_number_zero(ogg: bytes) -> bytes:
    """An Ogg file whose stream is number 0: the encoder draws a number from the clock (RFC 3533, section 6)."""
    pages, start = [], 0
    while start < len(ogg):
        num_segments = ogg[start + 26]
        end = start + 27 + num_segments + sum(ogg[start + 27 : start + 27 + num_segments])
        blank = ogg[start : start + 14] + bytes(4) + ogg[start + 18 : start + 22] + bytes(4) + ogg[start + 26 : end]
        pages.append(blank[:22] + struct.pack("<I", _ogg_checksum(blank)) + blank[26:])
        start = end
    return b"".join(pages)
