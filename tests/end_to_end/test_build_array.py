"""The Slurm script of a build in parts, run without Slurm: a signal requeues the task, its next start continues it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from commands import BIN, PATIENCE_SECONDS
from shard_commands import ROOT, build_arguments, files_of, started_alone, wait_until

SCRIPT = ROOT / "launch" / "slurm" / "build_array.sbatch"


def start_job(tmp_path: Path, task: int, *words: str, last: int = 2) -> subprocess.Popen[str]:
    """Runs the batch script as one task of an array, with a stand-in for scontrol that notes what it is asked."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir(exist_ok=True)
    (bin_folder / "scontrol").write_text(f'#!/bin/sh\n[ "$1" = show ] || echo "$@" >> {tmp_path}/scontrol.log\n')
    (bin_folder / "scontrol").chmod(0o755)
    numbers = {"ID": task, "MIN": 1, "MAX": last, "COUNT": last}
    settings = started_alone() | {
        "PATH": f"{bin_folder}:{BIN}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_ARRAY_JOB_ID": "4711",
        **{f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in numbers.items()},
    }
    return subprocess.Popen(
        ["bash", str(SCRIPT), *words], env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize("asked", [signal.SIGUSR1, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_task_that_has_to_make_room_is_requeued_and_goes_on(
    small_corpus: Path, small_shards: Path, tmp_path: Path, asked: signal.Signals
) -> None:
    out = tmp_path / "set"
    arguments = build_arguments(small_corpus, out)
    job = start_job(tmp_path, 2, *arguments)
    wait_until(lambda: len(list(out.glob(".build/*.tar.json"))) >= 1 or job.poll() is not None)
    job.send_signal(asked)
    _, errors = job.communicate(timeout=PATIENCE_SECONDS)
    assert "stopped by SIGTERM; finished work is kept" in errors
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711_2\n"
    assert not list(out.rglob("*.partial"))
    for task in (2, 1):
        job = start_job(tmp_path, task, *arguments)
        output, errors = job.communicate(timeout=PATIENCE_SECONDS)
        assert job.returncode == 0, errors
        assert ("part 2 of 2: resuming" in output) == (task == 2)
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711_2\n"
    assert files_of(out) == files_of(small_shards)


def test_the_script_is_an_array_and_a_job_that_fails_is_not_requeued(tmp_path: Path) -> None:
    job = start_job(
        tmp_path, 1, "--source", "recordings", "--root", str(tmp_path / "no"), "--out", str(tmp_path / "set")
    )
    _, errors = job.communicate(timeout=PATIENCE_SECONDS)
    assert job.returncode == 2
    assert "no such folder" in errors
    assert not (tmp_path / "scontrol.log").exists()
    alone = subprocess.run(["bash", SCRIPT], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert alone.returncode != 0
    assert "submit this script as an array" in alone.stderr
