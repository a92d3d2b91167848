"""Runs all rows of a plan, each step by its own command, as forks of one Python instead of two new ones a step."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commands import run, warm_python

from launch.comparison.plan import Plan
from launch.comparison.report import write_report
from launch.comparison.rows import Row
from launch.comparison.steps import steps_of, write_row_settings


def run_forked(plan: Plan, rows: list[Row], out: Path, *, cwd: Path, at_once: int = 1, **more: str) -> None:
    """Runs every step of every row, and writes the report.

    `launch/compare.py` starts the same commands through Accelerate's launcher. That it does, and what happens when one
    fails, is in test_compare.py.

    Args:
        plan: the plan.
        rows: its rows.
        out: the comparison's folder.
        cwd: working directory of the commands.
        at_once: rows that run at the same time.
        more: environment variables of the commands.
    """

    def run_row(row: Row) -> None:
        write_row_settings(row)
        for step in steps_of(row):
            words = step.command(plan.launch_file)
            script = next(number for number, word in enumerate(words) if word.endswith(".py"))
            done = run([sys.executable, *words[script:]], cwd=cwd, **more)
            assert done.returncode == 0, (row.name, step.label, done.stdout + done.stderr)
            assert step.is_done(), (row.name, step.label)
        for checkpoints in list(row.folder.rglob("checkpoints")):  # hundreds of megabytes a row
            shutil.rmtree(checkpoints)

    warm_python()  # before threads ask for it at the same time
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run_row, rows))
    write_report(plan, rows, out)
