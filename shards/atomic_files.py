"""Files that are written whole or not at all: beside their place, brought to the disk, and renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PARTIAL_SUFFIX = ".partial"
_MACHINE_MARK = secrets.token_hex(8)
"""Tells this process from those of other machines that write to a shared folder; its forks share it."""


def write_text_atomically(path: Path, text: str) -> None:
    """Writes UTF-8 text beside `path`, brings it to the disk and renames it there."""
    partial = partial_path(path)
    try:
        _write_text(partial, text)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_text_once(path: Path, text: str) -> str:
    """Puts UTF-8 text at `path` unless something stands there, and returns what stands there then.

    Of several processes that do so at once, on whatever machines, one succeeds and all get its text.
    """
    partial = partial_path(path)
    try:
        _write_text(partial, text)
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:
            # A file system without hard links, none that machines share: the moment in between is let pass.
            if not path.exists():
                os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")


def partial_path(path: Path) -> Path:
    """Where this process writes what it then renames to `path`; no other process uses that name."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_MACHINE_MARK}{PARTIAL_SUFFIX}")


def _write_text(path: Path, text: str) -> None:
    """Writes text to a new file and brings it to the disk."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
