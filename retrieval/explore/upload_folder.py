"""The folder of visitors' uploads: how much it holds, what is swept from it, and how a file in it is opened."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shards.errors import UserError

MAX_UPLOAD_BYTES = 50_000_000
MAX_FOLDER_BYTES = 1_000_000_000
KEPT_SECONDS = 1800.0

NOT_UPLOADED = "the file was not uploaded here; drop it onto the page"


class UploadFolder:
    """The folder of uploads.

    Ages are those of a clock that can't be set, so that a wrong date neither keeps files for ever nor deletes new ones.

    Args:
        path: the folder.
        clock: returns a time in seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path.resolve()
        self._clock = clock
        self._first_seen: dict[Path, float] = {}

    def sweep(self) -> int:
        """Deletes files that were first seen half an hour ago or earlier; returns the bytes of those that are left."""
        now, held = self._clock(), 0
        first_seen: dict[Path, float] = {}
        for path in self.path.rglob("*"):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if stat.S_ISDIR(status.st_mode):
                    continue
                seen = self._first_seen.get(path, now)
                if now - seen > KEPT_SECONDS:
                    path.unlink()
                else:
                    first_seen[path] = seen
                    held += status.st_size
        self._first_seen = first_seen
        return held

    def holds(self, path: str) -> bool:
        """Whether a path leads into the folder, after its links."""
        try:
            return Path(path).resolve().is_relative_to(self.path)
        except (OSError, ValueError, RuntimeError):
            return False

    @contextmanager
    def private_copy(self, path: Path) -> Iterator[Path]:
        """A copy of an upload, of the same name, in a folder that visitors can't name; it is deleted afterwards.

        The file is reached from the folder's descriptor, name by name and through no link, so that what is decoded is
        what was uploaded, whatever a name leads to in the meantime.

        Raises:
            UserError: the path leads out of the folder or to no file, or the file is too large.
        """
        with os.fdopen(self._open(path), "rb") as upload, tempfile.TemporaryDirectory(prefix="earshot-own-") as own:
            if (size := os.fstat(upload.fileno()).st_size) > MAX_UPLOAD_BYTES:
                raise UserError(
                    f"the file has {size / 1e6:.0f} MB, more than the limit of {MAX_UPLOAD_BYTES / 1e6:.0f} MB; "
                    "give a smaller file"
                )
            copy = Path(own) / path.name
            with copy.open("wb") as file:
                shutil.copyfileobj(upload, file)
            yield copy

    def _open(self, path: Path) -> int:
        names = path.relative_to(self.path).parts if path.is_relative_to(self.path) else ()
        if not names or ".." in names:
            raise UserError(NOT_UPLOADED)
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in names[:-1]:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            # O_NONBLOCK: a pipe must not keep the page waiting for a writer.
            file = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        except (OSError, ValueError) as error:
            raise UserError(NOT_UPLOADED) from error
        finally:
            os.close(folder)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise UserError(NOT_UPLOADED)
        return file
