"""What `--dry-run` prints: the plan of a command in aligned lines, and whether its outputs could be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from shards.errors import UserError

ENDING = "dry run: all checks passed; nothing was written"


def print_plan(lines: Mapping[str, str], *, ending: str = ENDING) -> None:
    """Prints what a command would do.

    Args:
        lines: texts by their title, such as "writes"; those without a text are left out.
        ending: the last line.
    """
    width = max(map(len, lines)) + 2
    for title, text in lines.items():
        if text:
            print(f"{title:<{width}}{text}")
    print(ending)


def check_can_be_written(path: Path, setting: str = "out") -> None:
    """Checks that a folder or file could be made at a path, without making it.

    Raises:
        UserError: a file stands where a folder is needed, or the folder above can't be written.
    """
    above = existing_above(path)
    if not above.is_dir():
        if above != path:
            raise UserError(f"{setting} {path} can't be written: {above} is a file; name another --{setting}")
        above = above.parent
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"{setting} {path} can't be written: no permission in {above}; name another --{setting}")


def check_file_can_be_written(path: Path, setting: str = "out") -> None:
    """Checks that a file could be written at a path, without writing it.

    Raises:
        UserError: a folder is there, a file is where a folder is needed, or the folder can't be written.
    """
    if path.is_dir():
        raise UserError(f"{setting} {path} can't be written: it is a folder; name another --{setting}")
    check_can_be_written(path, setting)


def existing_above(path: Path) -> Path:
    """The path itself if it exists, else the nearest folder (or file) above it that does."""
    path = path.absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def free_bytes(path: Path) -> int:
    """Free space in bytes where a path is, or would be."""
    return shutil.disk_usage(existing_above(path)).free


def size_of(num_bytes: float) -> str:
    """A size in words, such as "1.2 GB"; decimal units."""
    if num_bytes >= 1e9:
        return f"{num_bytes / 1e9:,.1f} GB"
    return f"{num_bytes / 1e6:,.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:,.1f} KB"
