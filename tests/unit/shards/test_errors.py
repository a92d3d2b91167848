"""How commands end when they are interrupted, or when nobody reads what they print any more."""

from __future__ import annotations

import errno
import gc
import subprocess
import sys

import pytest

from shards.errors import run_command

CODE = """
from shards.errors import run_command
def main():
    {body}
run_command(main)
"""


def ended(body: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CODE.format(body=body)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = ended("for number in range(10**5): print(number, 'x' * 80)")
    assert command.stdout is not None
    assert command.stderr is not None
    assert command.stdout.readline().startswith("0 ")
    command.stdout.close()
    assert command.stderr.read() == ""
    assert command.wait() == 141


@pytest.mark.parametrize(
    ("body", "said", "status"),
    [
        ("raise KeyboardInterrupt", "stopped by the user\n", 130),
        ("from shards.errors import UserError; raise UserError('no such thing')", "error: no such thing\n", 2),
        (
            r"from shards.errors import UserError; raise UserError('no file \x1b[31mred\r\x9b0m; give\n\tanother')",
            "error: no file \ufffd[31mred\ufffd\ufffd0m; give\n\tanother\n",
            2,
        ),
    ],
)
def test_a_sentence_and_a_status(body: str, said: str, status: int) -> None:
    command = ended(body)
    assert (*command.communicate(), command.returncode) == ("", said, status)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.ENOSPC, "/a/b can't be written: No space left on device; free up space, and run the command again"),
        (errno.EROFS, "/a/b can't be written: Read-only file system; make it writable or give another place, and run"),
        (errno.EACCES, "/a/b can't be used: Permission denied; make it readable and writable or give another"),
        (errno.EDQUOT, "/a/b can't be written: Disk quota exceeded; free up space or ask for a larger quota"),
    ],
)
def test_a_disk_that_refuses_gets_a_sentence(code: int, said: str) -> None:
    process = ended(f"import os; raise OSError({code}, os.strerror({code}), '/a/b')")
    out, error = process.communicate()
    assert (out, process.returncode) == ("", 2)
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1


def test_other_errors_of_the_system_are_not_called_refusals() -> None:
    process = ended("open('/no/such/file')")
    assert "FileNotFoundError" in process.communicate()[1]
    assert process.returncode == 1


def test_a_command_ends_without_a_search_for_unreachable_objects() -> None:
    gc.unfreeze()
    run_command(lambda: None)
    assert gc.get_freeze_count() > 0
    gc.unfreeze()
