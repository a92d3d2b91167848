"""Files that are written whole or not at all: beside their place, brought to the disk, and renamed."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from shards.errors import UserError

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


def write_json(path: Path, record: Any) -> None:
    """Writes a record as readable JSON, atomically as `write_text_atomically`."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    if not _is_unicode(text):  # the name of a file may hold bytes that no text has
        text = json.dumps(record, indent=1)
    write_text_atomically(path, text + "\n")


def read_json(path: Path, remedy: str = "") -> Any:
    """The JSON in a file.

    Args:
        path: the file.
        remedy: what to do where it is missing or damaged, for the message.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = f"can't be read: {error.strerror}" if isinstance(error, OSError) else f"is not JSON: {error}"
        raise UserError(f"{path} {reason}{remedy and '; '}{remedy}") from error


def holds_json(path: Path) -> bool:
    """Whether a file is there and holds JSON: what was cut short does not."""
    try:
        read_json(path)
    except UserError:
        return False
    return True


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


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_text(path: Path, text: str) -> None:
    """Writes text to a new file and brings it to the disk."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
