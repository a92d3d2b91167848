"""Short names of options and the options of a dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from shards.command_line.option_lists import ANY_NUMBER, Option, field_options
from shards.command_line.short_names import describe, expand
from shards.command_line.verbs import called, hidden, positional

TABLE = {"-o": ("--out",), "-j": ("--workers", "--data.workers"), "--workers": ("--data.workers",)}


def test_a_command_takes_the_first_name_that_it_has() -> None:
    assert expand(["-j", "2", "-o=x"], TABLE, ["--out", "--workers"]) == ["--workers", "2", "--out=x"]
    assert expand(["-j", "2", "--workers=3"], TABLE, ["--data.workers"]) == ["--data.workers", "2", "--data.workers=3"]


def test_names_of_the_command_itself_and_values_are_kept() -> None:
    assert expand(["--workers", "-1", "--lr", "-o"], TABLE, ["--workers"]) == ["--workers", "-1", "--lr", "-o"]


def test_help_lists_what_the_command_takes() -> None:
    text = describe(TABLE, ["--data.workers"])
    assert text == "Short names:\n  -j, --workers  --data.workers"
    assert describe(TABLE, []) == ""


@dataclass
class Everything:
    where: Path
    size: tuple[int, int, int] | None = None
    names: tuple[str, ...] = ()
    is_fast: bool = False
    kind: Literal["a", "b"] | None = None
    check_only: Annotated[bool, called("check")] = False
    secret: Annotated[int, hidden()] = 0
    bare: Annotated[str, positional()] = ""


def test_options_of_a_dataclass() -> None:
    options = [
        Option(("--size",), 3),
        Option(("--names",), ANY_NUMBER),
        Option(("--is-fast", "--no-is-fast"), 0),
        Option(("--kind",), 1, ("a", "b")),
        Option(("--check", "--no-check"), 0),
    ]
    assert field_options(Everything, positional=True) == options
    assert field_options(Everything) == [Option(("--where",)), *options]
