"""Runs that begin together beside each other, as an array of jobs does, share one MLflow store and lose nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS, environment

TRACKED_RUN = """
import sys
from pathlib import Path
from pretrain.settings.training import RunSettings
from pretrain.training.tracking import Tracking
folder = Path(sys.argv[1])
folder.mkdir()
sys.stdin.readline()  # all begin at once
tracking = Tracking(RunSettings(out=folder), folder)
for step in range(20):
    tracking.log({"train/loss": float(step)}, step=step)
tracking.finish()
"""
RUNS = 3


@pytest.mark.slow
def test_runs_that_begin_together_share_a_store(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRACKED_RUN, str(tmp_path / f"run{number}")],
            env={name: value for name, value in environment().items() if name != "MLFLOW_TRACKING_URI"},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(RUNS)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 0, errors
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
        logged = store.execute("select run_uuid, count(*) from metrics group by run_uuid").fetchall()
        finished = store.execute("select status from runs").fetchall()
    assert [count for _, count in logged] == [20] * RUNS
    assert finished == [("FINISHED",)] * RUNS
