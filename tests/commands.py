"""Runs Earshot's commands as a user does: real processes, their exit status and what they print."""

from __future__ import annotations

import atexit
import functools
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from warm_python import WarmProcess, WarmPython, wait_for_all

from pretrain.training.run_folder import list_checkpoints

REPOSITORY = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

PATIENCE_SECONDS = 1200.0
"""How long a test waits for what takes seconds: long enough for a slow and busy machine, so that only a hang fails."""

SMALL_INPUTS = [
    *("--batch-size", "16", "--tracker", "none", "--data.image-size", "32", "--model.sound-pooling", "4"),
    *("--data.workers", "0", "--precision", "fp32", "--validation.crops", "1", "--threads", "1"),
]
"""Settings under which ResNet-18 takes half a second a step."""

TINY_ENCODER = "timm:test_resnet"
"""A residual network of 0.4 million weights, with 96 features."""

SMALL = [*SMALL_INPUTS, "--model.image-encoder", TINY_ENCODER, "--model.sound-encoder", TINY_ENCODER]
"""Settings under which towers take a twentieth of a second a step, for tests that ask nothing of the encoders."""

CONSTANT_RATE = [
    *("--optimizer.warmup-epochs", "0", "--optimizer.final-fraction", "1"),
    # Small steps, for at the first ones Adam blows differences of rounding up to the size of the step.
    *("--optimizer.learning-rate", "2e-5"),
]
"""A learning rate that does not depend on the number of epochs, so that a run can be trained in pieces."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with one thread a process so that tests don't starve each other."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", **more}


def accelerate_launch(*words: str | Path) -> list[str]:
    """`accelerate launch --quiet … pretrain/run.py WORDS` as a list."""
    config = REPOSITORY / "launch" / "accelerate" / "one_process.yaml"
    script = str(REPOSITORY / "pretrain" / "run.py")
    return [str(BIN / "accelerate"), "launch", "--quiet", "--config_file", str(config), script, *map(str, words)]


def torchrun(processes: int, *words: str | Path) -> list[str]:
    """`torchrun --standalone --nproc_per_node N pretrain/run.py WORDS` as a list."""
    script = str(REPOSITORY / "pretrain" / "run.py")
    return [
        *(str(BIN / "torchrun"), "--standalone", "--nproc_per_node", str(processes), script),
        *map(str, words),
    ]


def run(
    command: list[str], *, cwd: Path, timeout_seconds: float = PATIENCE_SECONDS, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and captures what it prints; a Python script is a fork of `warm_python`."""
    settings = environment(**more)
    if warm_python().can_run(command, settings):
        return warm_python().start(command, cwd=cwd, environment=settings).wait(timeout_seconds)
    return subprocess.run(
        command, cwd=cwd, env=settings, capture_output=True, text=True, timeout=timeout_seconds, check=False
    )


def run_together(
    command: list[str], *, cwd: Path, processes: int = 2, timeout_seconds: float = PATIENCE_SECONDS, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs a Python script in processes that join as those of torchrun do; what they printed, one after the other.

    It spares the launcher and its imports; `torchrun` and `accelerate_launch` are for what they do themselves.
    """
    started = start_together(command, cwd=cwd, processes=processes, settings=environment(**more))
    results = wait_for_all(started, timeout_seconds)
    printed = ("".join(getattr(result, stream) for result in results) for stream in ("stdout", "stderr"))
    return subprocess.CompletedProcess(command, max((result.returncode for result in results), key=abs), *printed)


def start_together(
    command: list[str], *, cwd: Path, processes: int, settings: dict[str, str], warm: WarmPython | None = None
) -> list[WarmProcess]:
    """Starts a Python script in processes that will join, with these variables; see `run_together`."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    place |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(processes))
    warm = warm or warm_python_for(settings)
    ranks = [place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    return [warm.start(command, cwd=cwd, environment=settings | rank) for rank in ranks]


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def last_step(run_folder: Path) -> int:
    """The step of a run's newest checkpoint; 0 where there is none."""
    return max((int(path.name[5:]) for path in list_checkpoints(run_folder)), default=0)


def stop_when(
    condition: Callable[[], bool], command: list[str], number: int, *, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Starts a Python script, sends it a signal as soon as a condition holds, and waits for its end."""
    process = warm_python().start(command, cwd=cwd, environment=environment())
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        assert not process.has_ended(), process.wait(PATIENCE_SECONDS)
        time.sleep(0.01)
    os.kill(process.pid, number)
    return process.wait(PATIENCE_SECONDS)


def with_deepspeed(stage: str) -> dict[str, str]:
    """The variables that `accelerate launch` sets by launch/accelerate/deepspeed_STAGE.yaml."""
    record = yaml.safe_load((REPOSITORY / "launch" / "accelerate" / f"deepspeed_{stage}.yaml").read_text())
    assert record["distributed_type"] == "DEEPSPEED"
    config_file = record["deepspeed_config"]["deepspeed_config_file"]
    return {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": config_file}


@functools.cache
def warm_python(*more_packages: str) -> WarmPython:
    """The process from which Python scripts are forked; it ends with the tests."""
    warm = WarmPython(environment(), *more_packages)
    atexit.register(warm.close)
    return warm


def warm_python_for(settings: dict[str, str]) -> WarmPython:
    """One whose forks find the packages loaded as these variables say; a new one where none of those there does."""
    warm = warm_python("deepspeed") if "ACCELERATE_USE_DEEPSPEED" in settings else warm_python()
    return warm if warm.is_loaded_as(settings) else WarmPython(settings)


def python_with_small_files(code: str, *words: str | Path, most_bytes: int) -> str:
    """Runs Python code under which no file can grow beyond a size, as on a disk that is nearly full; what it prints."""
    limit = (most_bytes, most_bytes)
    result = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    return result.stdout


def python(script: str, *words: str | Path | float) -> list[str]:
    """`python SCRIPT WORDS`, the script being a path within the repository."""
    return [sys.executable, str(REPOSITORY / script), *map(str, words)]
