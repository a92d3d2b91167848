"""Around the rows of a comparison: the words of its command, the numbers of its array, the sentence of a failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.comparison.command_line import parse
from launch.comparison.running import _last_error
from launch.comparison.slurm import _ranges
from shards.errors import UserError


@given(st.sets(st.integers(1, 60), min_size=1))
def test_the_rows_of_an_array_are_all_that_are_missing(numbers: set[int]) -> None:
    listed: list[int] = []
    for part in _ranges(sorted(numbers)).split(","):
        first, _, last = part.partition("-")
        listed += range(int(first), int(last or first) + 1)
    assert listed == sorted(numbers)
    assert _ranges([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["error: an old one", "|", "step 1", "error: loss must be > 0", "accelerate: status 2"], "loss must be > 0"),
        (["error: an old one", "|", "Traceback", "KeyError: 'x'"], "KeyError: 'x'"),
        (["error: an old one", "|"], ""),
    ],
)
def test_the_last_sentence_of_a_failure_is_found(lines: Sequence[str], sentence: str, tmp_path: Path) -> None:
    before, after = "\n".join(lines).split("|")
    (tmp_path / "log.txt").write_text(before + after)
    assert _last_error(tmp_path / "log.txt", len(before)) == sentence


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--root", "aid"], "root must be LABEL=DIR"),
        (["--slurm", "--row", "3"], "give one of --row, --report-only and --slurm, got --row and --slurm"),
        (["--slurm", "--jobs-at-once", "0"], "jobs_at_once must be >= 1, got 0"),
    ],
)
def test_options_that_can_t_be_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(["plan.yaml", "--out", "x", *words])


def test_words_become_options() -> None:
    words = ["plan.yaml", "--slurm", "--sbatch", "--partition=gpu -n 1", "--root", "a=b=c", "--sbatch=--time=1:00"]
    options = parse([*words, "--out", "x", "--root", "d=e"])
    assert (options.plan, options.out, options.slurm) == (Path("plan.yaml"), Path("x"), True)
    assert options.roots == {"a": Path("b=c"), "d": Path("e")}
    assert options.sbatch == ("--partition=gpu -n 1", "--time=1:00")
