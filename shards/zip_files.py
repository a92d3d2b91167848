"""Checks untrusted zip files before they are read, for the size that they would unpack to."""

from __future__ import annotations

import zipfile
from pathlib import Path

from shards.records import DamagedRecord


def refuse_bombs(path: Path, most_bytes: int, remedy: str = "") -> None:
    """Refuses a zip file that unpacks to more than `most_bytes`; other files are let through, for their own readers.

    Raises:
        DamagedRecord: it does.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as members:
            unpacked = sum(member.file_size for member in members.infolist())
    except Exception:  # zipfile raises many kinds of errors; the reader that comes next says what is damaged
        return
    if unpacked > most_bytes:
        end = f"; {remedy}" if remedy else ""
        raise DamagedRecord(f"{path} would unpack to {unpacked:,} bytes, more than the {most_bytes:,} allowed{end}")
