"""Locks on files and folders between processes, which do nothing on file systems that have none."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from shards.errors import UserError

_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""Error codes of file systems without locks, such as Lustre mounted without `flock`."""


def lock(file: IO[Any] | int, *, shared: bool = False, wait: bool = False) -> bool:
    """Locks an open file until it is closed; the operating system also releases the lock at the process's end.

    Args:
        file: open for reading and writing, or a folder: NFS requires the first for a shared lock and the second for an
            exclusive one.
        shared: whether other shared locks are possible at the same time.
        wait: whether to wait for a process that holds a lock.

    Returns:
        Whether the file system has locks; without them nothing is locked, and the caller goes on.

    Raises:
        BlockingIOError: another process holds a lock, and `wait` is False.
        OSError: any other failure.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


@contextmanager
def lock_folder(out: Path, at_work: str, *, setting: str = "out") -> Iterator[None]:
    """Creates an output folder and locks it against other commands.

    Args:
        out: the folder to lock.
        at_work: reason to report if it is locked, such as "another process trains in it".
        setting: that the folder comes from, for messages.

    Raises:
        UserError: it can't be written, or it is locked.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
        lock(folder)
    except BlockingIOError as error:
        raise UserError(f"{setting} {out} is in use: {at_work}; wait for it or stop it") from error
    except OSError as error:
        raise UserError(f"{setting} {out} can't be written: {error.strerror}; name another --{setting}") from error
    try:
        yield
    finally:
        os.close(folder)
