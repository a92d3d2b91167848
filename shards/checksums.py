"""Checksums of files, computed block by block."""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from pathlib import Path

from shards.records import Count, Sha256


@dataclass(frozen=True)
class FileChecksum:
    """Size in bytes and SHA-256 in hexadecimal of a file."""

    bytes: Count
    sha256: Sha256


def file_checksum(path: Path) -> FileChecksum:
    """Size and SHA-256 of a file.

    Raises:
        OSError: it can't be read.
    """
    return FileChecksum(path.stat().st_size, file_sha256(path))


def checksum_of(content: bytes | mmap.mmap) -> FileChecksum:
    """Size and SHA-256 of the content of a file."""
    return FileChecksum(len(content), hashlib.sha256(content).hexdigest())


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
