"""The Slurm script of several nodes, run without Slurm: every trainer hears of a signal, the next start resumes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from commands import BIN, PATIENCE_SECONDS, REPOSITORY, SMALL_INPUTS, environment

from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints

SCRIPT = REPOSITORY / "launch" / "slurm" / "several_nodes.sbatch"
NODES = 2
EPOCHS, STEPS_PER_EPOCH = 60, 3

# The nodes are processes of this machine. As Slurm's own does, it hands SIGUSR1 on to the tasks and nothing below
# them, kills them when it gets SIGTERM, kills what a task leaves behind, and ends with the highest status of a task.
SRUN = f"""#!{BIN}/python
import os, pathlib, signal, subprocess, sys

words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
print("srun", *sys.argv[1:], file=open(os.environ["STAND_IN_LOG"], "a"))
tasks = [
    subprocess.Popen(words, env={{**os.environ, "SLURM_NODEID": str(node), "STAND_IN": f"{{os.getpid()}}.{{node}}"}})
    for node in range({NODES})
]
def send(number):
    for task in tasks:
        if task.poll() is None:
            task.send_signal(number)
signal.signal(signal.SIGUSR1, lambda number, frame: send(number))
signal.signal(signal.SIGTERM, lambda number, frame: send(signal.SIGKILL))
worst = 0
for node, task in enumerate(tasks):
    worst = max(worst, task.wait() % 256)
    for place in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if f"STAND_IN={{os.getpid()}}.{{node}}".encode() in (place / "environ").read_bytes().split(bytes(1)):
                os.kill(int(place.name), signal.SIGKILL)
        except OSError:
            pass
sys.exit(worst)
"""
SCONTROL = """#!/bin/sh
case "$1 $2" in
  "show hostnames") printf '127.0.0.1\\n127.0.0.2\\n' ;;
  "show job") echo "JobId=$3 JobState=${JOB_STATE:-RUNNING} Reason=None" ;;
  *) echo scontrol "$@" >> "$STAND_IN_LOG" ;;
esac
"""


def free_job_number() -> int:
    """A job number whose port is free: the script takes 10000 + number modulo 20000."""
    for number in range(4711, 9000):
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", 10000 + number))
            return number
    raise AssertionError("no port is free")


class Submitted:
    """The batch script with stand-ins for Slurm's commands, which note what they are asked."""

    def __init__(self, tmp_path: Path, shards: Path) -> None:
        self.run = tmp_path / "run"
        self.log = tmp_path / "slurm.log"
        self.number = free_job_number()
        bin_folder = tmp_path / "bin"
        bin_folder.mkdir()
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
        self.settings = environment(
            PATH=f"{bin_folder}:{BIN}:{os.environ['PATH']}",
            STAND_IN_LOG=str(self.log),
            SHARDS=str(shards),
            RUN=str(self.run),
            SLURM_JOB_ID=str(self.number),
            SLURM_JOB_NODELIST="node[1-2]",
            SLURM_JOB_NUM_NODES=str(NODES),
            SLURM_GPUS_ON_NODE="1",
            SLURM_CPUS_PER_TASK="1",
            SLURM_SUBMIT_DIR=str(REPOSITORY),
            # What several machines launch is the same without GPUs; their processes then join by gloo.
            ACCELERATE_USE_CPU="true",
            GLOO_SOCKET_IFNAME="lo",
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """One start of the job by Slurm."""
        return subprocess.Popen(
            ["bash", str(SCRIPT), *words],
            env=self.settings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_for_step_after(self, step: int, job: subprocess.Popen[str]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.saved_step() <= step:
            assert time.monotonic() < deadline
            assert job.poll() is None, job.communicate()[0]
            time.sleep(0.05)

    def saved_step(self) -> int:
        return max((int(path.name[5:]) for path in list_checkpoints(self.run)), default=0)

    def requeued(self) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith("scontrol")]


def descendants(number: int) -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    below = list(children.get(number, []))
    for child in below:
        below += children.get(child, [])
    return below


def command_line(number: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="pgrep is not installed")
def test_a_signal_saves_and_requeues_and_the_next_start_resumes(tiny_shards: Path, tmp_path: Path) -> None:
    submitted = Submitted(tmp_path, tiny_shards)
    job = submitted.start("demo", *SMALL_INPUTS, "--epochs", str(EPOCHS), "--log-every-steps", "1")
    try:
        submitted.wait_for_step_after(0, job)
        job.send_signal(signal.SIGUSR1)  # as Slurm does before the time is up: to the batch script alone
        output, _ = job.communicate(timeout=PATIENCE_SECONDS)
        assert "2 processes x 8 pairs" in output
        saved = submitted.saved_step()
        assert f"preempted: checkpoint saved at step {saved}" in output
        assert submitted.requeued() == [f"scontrol requeue {submitted.number}"]
        assert saved < EPOCHS * STEPS_PER_EPOCH

        job = submitted.start()
        submitted.wait_for_step_after(saved, job)
        # As Slurm does when the job has to go: to every process of the step, launchers and shells among them.
        srun = next(number for number in descendants(job.pid) if "/bin/srun" in command_line(number))
        for number in descendants(srun):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGTERM)
        output, _ = job.communicate(timeout=PATIENCE_SECONDS)
        assert f"resuming {submitted.run} at step {saved}" in output
        assert f"preempted: checkpoint saved at step {submitted.saved_step()}" in output
        assert submitted.requeued() == [f"scontrol requeue {submitted.number}"] * 2
        steps = [line["step"] for line in MetricsFile(submitted.run).read() if line["split"] == "train"]
        assert steps == list(range(1, submitted.saved_step() + 1))
    finally:
        for number in [*descendants(job.pid), job.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pgrep") is None, reason="pgrep is not installed")
def test_a_run_that_ends_is_not_requeued_nor_one_that_fails(tiny_shards: Path, tmp_path: Path) -> None:
    submitted = Submitted(tmp_path, tiny_shards)
    output, _ = submitted.start("demo", *SMALL_INPUTS, "--epochs", "1", "--batch-size", "15").communicate(
        timeout=PATIENCE_SECONDS
    )
    assert "batch_size must be divisible by processes" in output
    job = submitted.start("demo", *SMALL_INPUTS, "--epochs", "1")
    output, _ = job.communicate(timeout=PATIENCE_SECONDS)
    assert job.returncode == 0, output
    assert json.loads((submitted.run / "summary.json").read_text())["num_processes"] == NODES
    assert submitted.requeued() == []


@pytest.mark.parametrize(
    ("status", "state", "comes_back"),
    [(75, "RUNNING", True), (75, "CANCELLED", False), (1, "RUNNING", False), (0, "RUNNING", False)],
)
def test_a_job_comes_back_if_it_was_asked_to_make_room(
    status: int, state: str, comes_back: bool, tmp_path: Path
) -> None:
    submitted = Submitted(tmp_path, tmp_path / "shards")
    (tmp_path / "bin" / "srun").write_text(f"#!/bin/sh\ntouch {submitted.log}\nexit {status}\n")
    submitted.settings["JOB_STATE"] = state
    job = submitted.start()
    job.communicate(timeout=PATIENCE_SECONDS)
    assert submitted.requeued() == ([f"scontrol requeue {submitted.number}"] if comes_back else [])
    assert job.returncode == (0 if comes_back else status)


def test_it_says_what_it_needs() -> None:
    result = subprocess.run(["bash", str(SCRIPT)], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert result.returncode != 0
    assert "set SHARDS to the shard set" in result.stderr
