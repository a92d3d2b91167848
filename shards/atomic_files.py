"""Atomic file writes: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PARTIAL_SUFFIX = ".partial"
_MACHINE_MARK = secrets.token_hex(8)
"""Makes temporary names unique across machines that share a folder; forks inherit it."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives the name of a temporary file, which replaces `path` once it is written; on failure `path` stays as it was.

    Raises:
        OSError: the disk is full or refuses; it names `path`.
    """
    partial = partial_path(path)
    try:
        with naming(path):
            yield partial
            os.replace(partial, path)
    finally:
        with suppress(OSError):  # on a disk that takes no more there is nothing to remove
            partial.unlink(missing_ok=True)


@contextmanager
def replaced_together(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Gives a new folder within `folder` to write files to, which replace those of their names once all are written.

    On failure those in `folder` stay as they were.

    Args:
        folder: exists.
        names: of the files; the last one says that all are there, so it is removed first and comes last.

    Raises:
        OSError: the disk is full or refuses; it names the file in `folder`.
    """
    new = partial_path(folder / "new")
    try:
        with naming_in(folder):
            new.mkdir()
            yield new
        (folder / names[-1]).unlink(missing_ok=True)
        for name in names:
            with naming(folder / name):
                os.replace(new / name, folder / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextmanager
def naming_in(folder: Path) -> Iterator[None]:
    """Makes the errors of files in a temporary folder name those of `folder` that they are to replace."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(folder / Path(str(error.filename or "")).name), None
        raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes the errors of writing to a file name it; those of a full disk name none."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Writes a temporary file, flushes it to disk and renames it to `path`."""
    with written_whole(path) as partial:
        _write(partial, content)


def write_text_atomically(path: Path, text: str) -> None:
    """As `write_bytes_atomically`, with UTF-8 text."""
    write_bytes_atomically(path, text.encode())


def write_json(path: Path, record: Any) -> None:
    """Writes a record as indented JSON, atomically."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    if not _is_unicode(text):  # a file name may contain bytes that are not valid UTF-8
        text = json.dumps(record, indent=1)
    write_text_atomically(path, text + "\n")


def write_text_once(path: Path, text: str) -> str:
    """Writes UTF-8 text to `path` unless the file exists, and returns the file's content.

    If several processes call this at once, on one machine or many, one succeeds and all return its text.
    """
    partial = partial_path(path)
    try:
        with naming(path):
            _write(partial, text.encode())
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:
            # No hard links: never a file system shared by machines, so the race between check and rename is accepted.
            if not path.exists():
                os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path.read_text(encoding="utf-8")


def partial_path(path: Path) -> Path:
    """A temporary name in the folder of `path` that no other process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{_MACHINE_MARK}{PARTIAL_SUFFIX}")


def _write(path: Path, content: bytes) -> None:
    """Writes a new file and flushes it to disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
