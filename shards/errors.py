"""The error that a user can fix, and how a command ends on it."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """A mistake in what the user gave: one sentence that names the field, the value, the rule and the remedy."""


def first_line(error: BaseException) -> str:
    """What an exception says, in one line of at most 300 characters: messages of libraries span many.

    Passwords in addresses (`http://user:password@host`) are left out.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    line = lines[0] if lines else type(error).__name__
    return without_passwords(line).rstrip(".;")[:300]


def without_passwords(text: str) -> str:
    """A text whose addresses name no user and password."""
    return re.sub(r"://[^/@\s]*@", "://", text)


class UnreadableShard(UserError):
    """A shard of a finished set can't be read or fetched.

    Args:
        message: the sentence.
        shard: the file name of its tar.
    """

    def __init__(self, message: str, *, shard: str) -> None:
        super().__init__(message)
        self.shard = shard


class RejectedPair(Exception):
    """One pair can't be used; the build lists it under its reason and goes on.

    Args:
        reason: a short fixed phrase that rejections are counted by, such as "undecodable sound".
        detail: what is wrong with this pair, such as the file's name and the decoder's message.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@contextmanager
def failures_as_rejections() -> Iterator[None]:
    """Whatever a pair's files make fail within is its own rejection, never the end of a long build.

    Memory that ran out is no fault of the pair's, so `MemoryError` passes.

    Raises:
        RejectedPair: in place of any other exception.
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
    """A scheduler asked the process to end; like Ctrl-C it passes through the work in progress, which cleans up."""


def end_on_sigterm() -> None:
    """From now on SIGTERM ends the command as Ctrl-C does, with everything cleaned up; its exit status is 143."""

    def end(*_: object) -> None:
        # A second signal must not break the cleaning up.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise AskedToEnd

    signal.signal(signal.SIGTERM, end)


def run_command(main: Callable[[], None]) -> None:
    """Runs a command's `main`; a `UserError` becomes its sentence on standard error and exit status 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read what is printed, such as head, has seen enough; Python would complain once more as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr, flush=True)
        sys.exit(130)
    except AskedToEnd:
        print("stopped by SIGTERM; what is finished is kept", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGTERM)
