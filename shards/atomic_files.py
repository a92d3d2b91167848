"""Atomic file writes: a temporary file in the same folder, fsync, rename."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shards.temporary_files import PARTIAL_SUFFIX, Temporary


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives the name of a temporary file, which replaces `path` once it is written; on failure `path` stays as it was.

    Raises:
        OSError: the disk is full or refuses; it names `path`.
    """
    with naming(path), temporary_beside(path) as partial:
        yield partial
        os.replace(partial, path)


@contextmanager
def temporary_beside(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """Gives a temporary file or folder beside `path`, which is removed in the end if it was not renamed.

    Raises:
        OSError: it can't be made.
    """
    temporary = Temporary(path, is_folder=is_folder)
    try:
        yield temporary.path
    finally:
        temporary.discard()


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
    with naming_in(folder), temporary_beside(folder / "new", is_folder=True) as new:
        yield new
        (folder / names[-1]).unlink(missing_ok=True)
        for name in names:
            os.replace(new / name, folder / name)


@contextmanager
def naming_in(folder: Path) -> Iterator[None]:
    """Makes the errors of files in a temporary folder name those of `folder` that they are to replace."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own
            raise
        name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else ""
        place = folder if name.endswith(PARTIAL_SUFFIX) else folder / name
        raise OSError(error.errno, error.strerror, str(place)) from error


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes the errors of writing to a file name it; those of a full disk name none."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


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
    with naming(path), temporary_beside(path) as partial:
        _write(partial, text.encode())
        try:
            os.link(partial, path)
        except FileExistsError:
            pass
        except OSError:
            # No hard links: never a file system shared by machines, so the race between check and rename is accepted.
            if not path.exists():
                os.replace(partial, path)
    return path.read_text(encoding="utf-8")


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
