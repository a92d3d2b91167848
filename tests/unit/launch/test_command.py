"""Around the rows of a comparison: the words of its command, the numbers of its array, the sentence of a failure."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from commands import python, run
from hypothesis import given
from hypothesis import strategies as st

from launch.comparison.command_line import parse
from launch.comparison.parent_run import ParentRun
from launch.comparison.plan import load_plan
from launch.comparison.rows import rows_of
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
        (["--plan-is-over"], "plan_is_over needs --report-only"),
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


def test_tables_of_a_plan_at_work_leave_its_run_in_mlflow_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path, out = tmp_path / "plan.yaml", tmp_path / "out"
    path.write_text("name: n\nmethods: {a: {}}\n")
    plan = load_plan(path)
    ParentRun(plan, rows_of(plan, out), out, path).begin()

    def status_after(*words: str) -> str:
        result = run(python("launch/compare.py", path, "--out", out, "--report-only", *words), cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        with closing(sqlite3.connect(out / "mlflow.db")) as store:
            ((status,),) = store.execute("select status from runs").fetchall()
        return str(status)

    assert status_after() == "RUNNING"
    assert status_after("--plan-is-over") == "FAILED"
    with closing(sqlite3.connect(out / "mlflow.db")) as store:
        rows = dict(store.execute("select key, value from latest_metrics"))
        kind = store.execute("select value from experiment_tags where key = 'mlflow.experimentKind'").fetchall()
    assert rows == {"rows/planned": len(rows_of(plan, out)), "rows/done": 0}
    assert kind == [("custom_model_development",)]
