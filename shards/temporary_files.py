"""Temporary files beside those that they become: locked while their process lives, and swept up after a kill."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import time
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

from shards.locks import lock

PARTIAL_SUFFIX = ".partial"
OTHER_MACHINES_SECONDS = 24 * 3600.0
"""How long a temporary file of another machine must have been left alone before it counts as abandoned."""

_NAME = re.compile(rf"\..+\.(?P<machine>[0-9a-f]{{8}})-[0-9a-f]{{16}}{re.escape(PARTIAL_SUFFIX)}", re.DOTALL)
_swept: set[Path] = set()
"""Folders in which this process has looked for remains."""


class Temporary:
    """A new file or folder beside `final`, of which no other process knows, to be filled and renamed.

    Its process holds a lock on it (flock), which the system releases when the process is killed. The first time that
    another process writes to the same folder, it removes what nobody holds any more.

    Args:
        final: what it is to become; its folder exists.
        is_folder: make a folder, not a file.

    Attributes:
        path: where it is.

    Raises:
        OSError: it can't be made; the error names `path`.
    """

    def __init__(self, final: Path, *, is_folder: bool = False) -> None:
        self._final = final
        _sweep(final.parent)
        while True:
            self.path = partial_path(final)
            if is_folder:
                self.path.mkdir()
            else:
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            try:
                self._lock: int | None = os.open(self.path, os.O_RDONLY if is_folder else os.O_RDWR)
            except FileNotFoundError:
                continue  # another process swept it up before it was locked
            lock(self._lock, wait=True)  # on a file system without locks nothing can be swept up
            if self.path.exists():
                return
            os.close(self._lock)  # it was being swept up

    def keep(self) -> None:
        """Renames it to what it is to become."""
        os.replace(self.path, self._final)
        self.discard()

    def discard(self) -> None:
        """Removes it unless it was kept, and releases it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            with suppress(OSError):  # on a disk that takes no more there is nothing to remove
                _remove(self.path)


def partial_path(final: Path) -> Path:
    """A name for a temporary file beside `final`, another one each time."""
    return final.with_name(f".{final.name}.{_machine()}-{secrets.token_hex(8)}{PARTIAL_SUFFIX}")


@cache
def _machine() -> str:
    """Tells machines apart that share a folder, by the start of their kernel; containers of one machine share it."""
    try:
        identity = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        identity = socket.gethostname().encode()
    return f"{zlib.crc32(identity):08x}"


def _sweep(folder: Path) -> None:
    """Removes what killed processes have left in a folder, once."""
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(f".*{PARTIAL_SUFFIX}"):
        match = _NAME.fullmatch(path.name)
        with suppress(OSError):
            if match and (match["machine"] == _machine() or _is_left_alone(path)):
                _remove_unless_held(path)


def _is_left_alone(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > OTHER_MACHINES_SECONDS


def _remove_unless_held(path: Path) -> None:
    """Removes it under its lock, for which a process that has just made it waits; raises OSError if it is held."""
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        if lock(file):
            _remove(path)
    finally:
        os.close(file)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
