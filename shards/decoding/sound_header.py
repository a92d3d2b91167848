"""Tells from its header whether a file is a sound that can be decoded, without decoding it."""

from __future__ import annotations

from pathlib import Path

import soundfile

from shards.errors import RejectedPair


def check_sound_header(path: Path) -> None:
    """Rejects a file that neither libsndfile nor FFmpeg opens as sound; what is damaged further on is not noticed.

    Raises:
        RejectedPair: "undecodable sound".
        OSError: the file can't be opened.
    """
    if path.stat().st_size == 0:
        raise RejectedPair("undecodable sound", f"{path.name}: the file is empty")
    try:
        with soundfile.SoundFile(path):
            return
    except soundfile.LibsndfileError:
        pass
    if not _has_audio_stream(path):
        raise RejectedPair("undecodable sound", f"{path.name}: not a sound file of any format that is read")


def _has_audio_stream(path: Path) -> bool:
    """Whether FFmpeg finds a sound with a sampling rate in the file."""
    import av

    try:
        with av.open(str(path)) as container:
            return any(stream.codec_context.sample_rate for stream in container.streams.audio)
    except (av.FFmpegError, ValueError):
        return False
