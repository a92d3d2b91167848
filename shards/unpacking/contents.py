"""What the first bytes of a file say that it is: an image or a sound, and the suffix that such files have."""

from __future__ import annotations

import re

_STARTS = (
    (rb"\xff\xd8\xff", "image", ".jpg"),
    (rb"\x89PNG\r\n\x1a\n", "image", ".png"),
    (rb"RIFF....WEBP", "image", ".webp"),
    (rb"II[*+]\x00|MM\x00[*+]", "image", ".tif"),
    (rb"\x00\x00\x00\x0cjP  \r\n\x87\n", "image", ".jp2"),
    (rb"\xff\x4f\xff\x51", "image", ".j2k"),
    (rb"BM....\x00\x00\x00\x00", "image", ".bmp"),
    (rb"RIFF....WAVE|RF64....WAVE|BW64....WAVE", "sound", ".wav"),
    (rb"fLaC", "sound", ".flac"),
    (rb"OggS", "sound", ".ogg"),
    (rb"ID3", "sound", ".mp3"),
    (rb"....ftyp(?!avif|avis|heic|heix|mif1|msf1)", "sound", ".m4a"),
    (rb"\x1aE\xdf\xa3", "sound", ".webm"),
    (rb"FORM....AIF[FC]", "sound", ".aiff"),
    (rb"caff", "sound", ".caf"),
    (rb"\.snd", "sound", ".au"),
    (rb"riff\x2e\x91\xcf\x11", "sound", ".w64"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "sound", ".wma"),
    (rb"#!AMR", "sound", ".amr"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "sound", ".aac"),
    (rb"\xff[\xe0-\xff]", "sound", ".mp3"),
)
"""(pattern of the first bytes, kind, suffix), the surest first; that of MP3 without a tag is two bytes."""

_PATTERNS = tuple((re.compile(pattern, re.DOTALL), kind, suffix) for pattern, kind, suffix in _STARTS)


def kind_of(content: bytes) -> tuple[str, str] | None:
    """The kind of a file, "image" or "sound", and its suffix; None if its first bytes are none that are known."""
    return next(((kind, suffix) for pattern, kind, suffix in _PATTERNS if pattern.match(content)), None)
