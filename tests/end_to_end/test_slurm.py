"""The Slurm script, run without Slurm: a signal saves the run and requeues the job, the next start resumes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import BIN, PATIENCE_SECONDS, REPOSITORY, SMALL, environment

from pretrain.training.run_folder import list_checkpoints

SCRIPT = REPOSITORY / "launch" / "slurm" / "one_node.sbatch"


def start(tmp_path: Path, shards: Path, *words: str) -> subprocess.Popen[str]:
    """Runs the batch script with a stand-in for scontrol that notes what it is asked."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir(exist_ok=True)
    (bin_folder / "scontrol").write_text(f'#!/bin/sh\n[ "$1" = show ] || echo "$@" >> {tmp_path}/scontrol.log\n')
    (bin_folder / "scontrol").chmod(0o755)
    settings = environment(
        PATH=f"{bin_folder}:{BIN}:{os.environ['PATH']}",
        SHARDS=str(shards),
        RUN=str(tmp_path / "run"),
        SLURM_JOB_ID="4711",
        SLURM_SUBMIT_DIR=str(REPOSITORY),
        LAUNCH="accelerate launch --quiet --config_file launch/accelerate/one_process.yaml",
    )
    return subprocess.Popen(["bash", str(SCRIPT), *words], env=settings, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pkill") is None, reason="pkill is not installed")
def test_a_signal_saves_and_requeues_and_the_next_start_resumes(tiny_shards: Path, tmp_path: Path) -> None:
    job = start(tmp_path, tiny_shards, "demo", *SMALL, "--epochs", "200", "--checkpoint.every-epochs", "1")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list_checkpoints(tmp_path / "run"):
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    output, _ = job.communicate(timeout=PATIENCE_SECONDS)
    assert "preempted: checkpoint saved at step" in output
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711\n"
    saved = int(list_checkpoints(tmp_path / "run")[-1].name[5:])
    assert saved < 600

    again = start(tmp_path, tiny_shards)
    time.sleep(0.1)
    while int(list_checkpoints(tmp_path / "run")[-1].name[5:]) == saved:
        assert time.monotonic() < deadline
        assert again.poll() is None
        time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    output, _ = again.communicate(timeout=PATIENCE_SECONDS)
    assert f"at step {saved} of 600" in output
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711\n" * 2


def test_it_says_what_it_needs() -> None:
    result = subprocess.run(["bash", str(SCRIPT)], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert result.returncode != 0
    assert "set SHARDS to the shard set" in result.stderr
