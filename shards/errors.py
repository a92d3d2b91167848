"""User errors, rejected pairs, and the exit status of a command."""

from __future__ import annotations

import errno
import gc
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

from shards.command_names import as_typed
from shards.loading import STOPPED, STOPPED_STATUS, Working
from shards.loudness import is_verbose
from shards.threads import choose_waiting
from shards.untrusted_text import without_controls


class UserError(ValueError):
    """A mistake in the user's input: one sentence that names the field, the value, the rule and the remedy."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, at most 300 characters, without passwords in URLs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return without_passwords(line).rstrip(".;")[:300]


def without_passwords(text: str) -> str:
    """Removes user names and passwords from the URLs in a text."""
    return re.sub(r"://[^/@\s]*@", "://", text)


class UnreadableShard(UserError):
    """A shard of a finished set can't be read or fetched.

    Args:
        message: the error message.
        shard: file name of the tar.
    """

    def __init__(self, message: str, *, shard: str) -> None:
        super().__init__(message)
        self.shard = shard


class RejectedPair(Exception):
    """A pair can't be used; the build records the reason and continues.

    Args:
        reason: a short fixed phrase by which rejections are counted, such as "undecodable sound".
        detail: what is wrong with this pair, such as the file name and the decoder's message.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@contextmanager
def failures_as_rejections() -> Iterator[None]:
    """Turns any failure to read a pair into its rejection, so that one bad file can't stop a long build.

    `MemoryError` is passed on, because running out of memory is not the pair's fault.

    Raises:
        RejectedPair: instead of any other exception.
    """
    try:
        yield
    except (RejectedPair, MemoryError):
        raise
    except OSError as error:
        raise RejectedPair("unreadable file", str(error)) from error
    except Exception as error:
        raise RejectedPair("unexpected failure", f"{type(error).__name__}: {error}") from error


class AskedToEnd(BaseException):
    """SIGTERM was received; like KeyboardInterrupt, it unwinds the work in progress, which cleans up."""


def end_on_sigterm() -> None:
    """Makes SIGTERM end the command like Ctrl-C, after cleaning up, with exit status 143."""

    def end(*_: object) -> None:
        # A second signal must not interrupt the cleanup.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise AskedToEnd

    signal.signal(signal.SIGTERM, end)


DISK_REMEDIES = {
    errno.ENOSPC: "free up space",
    errno.EDQUOT: "free up space or ask for a larger quota",
    errno.EFBIG: "allow larger files (ulimit -f) or use another disk",
    errno.EROFS: "make it writable or give another place",
    errno.EACCES: "make it readable and writable or give another place",
    errno.EPERM: "make it readable and writable or give another place",
}
"""What helps where a disk refuses, by the code of its error."""


def disk_remedy(error: OSError) -> str:
    """What helps where a file can't be written."""
    return DISK_REMEDIES.get(error.errno or 0, "fix that")


def disk_refusal(error: OSError) -> str | None:
    """One sentence about a file that a disk refuses to hold or to open; None if the error is another one."""
    if error.errno not in DISK_REMEDIES:
        return None
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else "a file"
    verb = "used" if error.errno in (errno.EACCES, errno.EPERM) else "written"
    return f"{name} can't be {verb}: {error.strerror}; {disk_remedy(error)}, and run the command again"


def run_command(main: Callable[[], None]) -> None:
    """Runs a command's `main`; a `UserError` is printed to standard error and the exit status is 2.

    A disk that is full or refuses is reported in the same way.
    """
    try:
        choose_waiting()
        with Working():
            main()
    except (UserError, ImportError) as error:
        # An import that Ctrl-C interrupted may report instead that a module is missing.
        if _follows_ctrl_c(error):
            _end_as_stopped()
        if not isinstance(error, UserError):
            raise
        if is_verbose():
            traceback.print_exc()
        # The message may quote a file name, a server or an untrusted file.
        print(f"error: {without_controls(as_typed(str(error)))}", file=sys.stderr, flush=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of the output, such as head, has closed the pipe; without this, Python reports it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except OSError as error:
        sentence = disk_refusal(error)
        if sentence is None:
            raise
        print(f"error: {without_controls(sentence)}", file=sys.stderr, flush=True)
        sys.exit(2)
    except KeyboardInterrupt:
        _end_as_stopped()
    except AskedToEnd:
        print("stopped by SIGTERM; finished work is kept", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGTERM)
    finally:
        # Else Python looks for unreachable objects once more at its end, for a second where torch is loaded.
        gc.freeze()


def _end_as_stopped() -> NoReturn:
    print(STOPPED, file=sys.stderr, flush=True)
    sys.exit(STOPPED_STATUS)


def _follows_ctrl_c(error: BaseException | None) -> bool:
    """Whether an error was raised because of a KeyboardInterrupt, or while one was handled."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
