"""Tells from its header whether a file is a sound that can be decoded, without decoding it."""

from __future__ import annotations

from pathlib import Path

from shards.decoding.sound_files import opened


def check_sound_header(path: Path) -> None:
    """Rejects a file that FFmpeg does not open as sound; what is damaged further on is not noticed.

    Raises:
        RejectedPair: "undecodable sound" or "sound too short".
        OSError: the file can't be opened.
    """
    with opened(path):
        pass
