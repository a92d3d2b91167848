"""The Slurm script, run without Slurm: a signal saves the run and requeues the job, the next start resumes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import BIN, PATIENCE_SECONDS, REPOSITORY, SMALL
from slurm_substitutes import SCRIPTS, Slurm

from pretrain.training.run_folder import list_checkpoints

SCRIPT = SCRIPTS / "one_node.sbatch"


def start(slurm: Slurm, shards: Path, *words: str) -> subprocess.Popen[str]:
    """Runs the batch script as Slurm does, submitted from the test's folder."""
    settings = slurm.environment(
        BIN,
        SHARDS=str(shards),
        RUN="run",
        EARSHOT=str(REPOSITORY),
        SLURM_SUBMIT_DIR=str(slurm.folder.parent),
        SLURM_GPUS_ON_NODE="1",
        CONFIG="launch/accelerate/one_process.yaml",
    )
    return subprocess.Popen(["bash", str(SCRIPT), *words], env=settings, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="pgrep is not installed")
def test_a_signal_saves_and_requeues_and_the_next_start_resumes(tiny_shards: Path, tmp_path: Path) -> None:
    slurm = Slurm(tmp_path / "slurm")
    job = start(slurm, tiny_shards, "demo", *SMALL, "--epochs", "200", "--checkpoint.every-epochs", "1")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not list_checkpoints(tmp_path / "run"):
        assert time.monotonic() < deadline
        assert job.poll() is None
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    output, _ = job.communicate(timeout=PATIENCE_SECONDS)
    assert "preempted: checkpoint saved at step" in output
    assert slurm.requests == ["scontrol requeue 4711"]
    saved = int(list_checkpoints(tmp_path / "run")[-1].name[5:])
    assert saved < 600

    again = start(slurm, tiny_shards)
    time.sleep(0.1)
    while int(list_checkpoints(tmp_path / "run")[-1].name[5:]) == saved:
        assert time.monotonic() < deadline
        assert again.poll() is None
        time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    output, _ = again.communicate(timeout=PATIENCE_SECONDS)
    assert f"at step {saved} of 600" in output
    assert slurm.requests == ["scontrol requeue 4711"] * 2


def test_it_says_what_it_needs() -> None:
    result = subprocess.run(["bash", str(SCRIPT)], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert result.returncode != 0
    assert "set SHARDS to the shard set" in result.stderr
