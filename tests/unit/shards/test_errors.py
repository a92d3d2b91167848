"""How commands end when they are interrupted, or when nobody reads what they print any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

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
