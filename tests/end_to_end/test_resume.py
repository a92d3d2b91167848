"""Exact resume: a run that was killed or preempted ends with the weights of one that never stopped."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from commands import PATIENCE_SECONDS, REPOSITORY, SMALL_INPUTS, accelerate_launch, environment, last_step, python, run
from processes import processes_with
from shard_commands import wait_until

from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import list_checkpoints

REPEAT_A_SAMPLE = """
import runpy, sys
from shards.streaming.reading import ShardSet
sample, before = ShardSet.sample, []
def repeat_the_second(self, split, number):
    if split != "train":
        return sample(self, split, number)
    before.append(number)
    return sample(self, split, before[0] if len(before) == 2 else number)
ShardSet.sample = repeat_the_second
script = sys.argv.pop(1)
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""
"""Runs a script of Earshot's in which the second training sample that is read is the first one again."""

JUMPING_CLOCK = """
import itertools, runpy, sys, time
jumps, now, now_ns = itertools.cycle((0, 86_400, -86_400)), time.time, time.time_ns
time.time = lambda: now() + next(jumps)
time.time_ns = lambda: now_ns() + 10**9 * next(jumps)
script = sys.argv.pop(1)
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""
"""Runs a script of Earshot's under a clock that jumps by a day whenever it is read."""

EPOCHS, STEPS_PER_EPOCH = 5, 3
OPTIONS = [*SMALL_INPUTS, "--precision", "bf16", "--epochs", str(EPOCHS), "--log-every-steps", "1"]
OPTIONS += ["--checkpoint.every-steps", "2", "--data.workers", "2"]


@pytest.fixture(scope="module")
def uninterrupted(tiny_shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    words = ["demo", "--shards", tiny_shards, "--out", folder, *OPTIONS]
    result = run(python("pretrain/run.py", *words), cwd=folder.parent)
    assert result.returncode == 0, result.stderr
    return folder


def stop_in_the_middle(shards: Path, folder: Path, number: int) -> subprocess.Popen[str]:
    """Starts a run and sends it a signal once it has saved in the middle of an epoch."""
    words = ["demo", "--shards", shards, "--out", folder, *OPTIONS]
    process = subprocess.Popen(
        python("pretrain/run.py", *words), cwd=folder.parent, env=environment(), stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(int(path.name[5:]) >= 4 for path in list_checkpoints(folder)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    if number != signal.SIGSTOP:
        process.wait(PATIENCE_SECONDS)
    return process


def weights_at_the_end(folder: Path) -> bytes:
    last = list_checkpoints(folder)[-1]
    assert last.name == f"step-{EPOCHS * STEPS_PER_EPOCH:08d}"
    return (last / "weights.safetensors").read_bytes()


def losses(folder: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in MetricsFile(folder).read() if line["split"] == "train"]


def loader_processes_of(trainer: int) -> list[Path]:
    """The /proc folders of a trainer's loaders and, first, of the server that they are forks of."""
    found = {trainer: Path(f"/proc/{trainer}")}
    for _ in ("the server", "its loaders"):
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent in found and b"forkserver" in (folder / "cmdline").read_bytes():
                    found[int(folder.name)] = folder
    return list(found.values())[1:]


@pytest.mark.slow
def test_loader_processes_end_with_a_trainer_that_is_killed(tiny_shards: Path, tmp_path: Path) -> None:
    process = stop_in_the_middle(tiny_shards, tmp_path / "run", signal.SIGSTOP)
    loaders = loader_processes_of(process.pid)
    assert len(loaders) == 3
    process.kill()
    process.wait(PATIENCE_SECONDS)
    wait_until(lambda: not any(folder.exists() for folder in loaders))


@pytest.mark.slow
@pytest.mark.parametrize("started", [1, 3])
def test_loader_processes_end_whose_trainer_is_killed_while_they_start(
    started: int, tiny_shards: Path, tmp_path: Path
) -> None:
    words = ["demo", "--shards", tiny_shards, "--out", tmp_path / "run", *OPTIONS]
    process = subprocess.Popen(python("pretrain/run.py", *words), cwd=tmp_path, env=environment())
    while len(loaders := loader_processes_of(process.pid)) < started:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait(PATIENCE_SECONDS)
    wait_until(lambda: not any(folder.exists() for folder in loaders))


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(uninterrupted: Path, tiny_shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = python("pretrain/run.py", "demo", "--shards", tiny_shards, "--out", folder, *OPTIONS)
    command[1:1] = ["-c", JUMPING_CLOCK]
    result = run([*command, "--data.workers", "0", "--checkpoint.every-minutes", "1"], cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
    assert losses(folder) == losses(uninterrupted)
    assert weights_at_the_end(folder) == weights_at_the_end(uninterrupted)
    assert json.loads((folder / "summary.json").read_text())["seconds"] < PATIENCE_SECONDS


@pytest.mark.slow
def test_a_trainer_saves_and_ends_when_its_launcher_is_killed(
    uninterrupted: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    folder, mark = tmp_path / "run", {"LAUNCHED_BY_TEST": str(tmp_path)}
    command = accelerate_launch("demo", "--shards", tiny_shards, "--out", folder, *OPTIONS)
    launcher = subprocess.Popen(command, cwd=REPOSITORY, env=environment(**mark), start_new_session=True)
    wait_until(lambda: last_step(folder) >= 2 or launcher.poll() is not None)
    launcher.kill()
    launcher.wait(PATIENCE_SECONDS)
    wait_until(lambda: not processes_with(f"LAUNCHED_BY_TEST={tmp_path}"))
    assert 2 <= last_step(folder) < EPOCHS * STEPS_PER_EPOCH
    assert losses(folder)[-1][0] == last_step(folder)
    result = run(python("pretrain/run.py", "--resume", folder), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert weights_at_the_end(folder) == weights_at_the_end(uninterrupted)


@pytest.mark.parametrize("workers", [pytest.param("2", marks=pytest.mark.slow), "0"])
def test_a_killed_run_ends_with_the_same_bits(
    workers: str, uninterrupted: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    stop_in_the_middle(tiny_shards, folder, signal.SIGKILL)
    assert int(list_checkpoints(folder)[-1].name[5:]) < EPOCHS * STEPS_PER_EPOCH
    result = run(python("pretrain/run.py", "--resume", folder, "--data.workers", workers), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    # One sample repeated or left out would change the loss of its step, and every weight after it.
    assert losses(folder) == losses(uninterrupted)
    assert weights_at_the_end(folder) == weights_at_the_end(uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [False, True])
def test_the_comparison_notices_one_repeated_sample(repeats: bool, uninterrupted: Path, tmp_path: Path) -> None:
    # The check of the checks above: one sample of 16 repeated in one step of 15 changes losses and weights.
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    shutil.rmtree(list_checkpoints(folder)[-1])
    (folder / "summary.json").unlink()  # of a run that has ended
    assert list_checkpoints(folder)[-1].name == f"step-{EPOCHS * STEPS_PER_EPOCH - 1:08d}"
    command = python("pretrain/run.py", "--resume", folder, "--data.workers", "0")
    if repeats:
        command[1:1] = ["-c", REPEAT_A_SAMPLE]
    result = run(command, cwd=REPOSITORY)
    assert result.returncode == 0, result.stderr
    assert (losses(folder) != losses(uninterrupted)) == repeats
    assert (weights_at_the_end(folder) != weights_at_the_end(uninterrupted)) == repeats


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGUSR1])
def test_a_scheduler_s_signal_saves_and_ends_with_its_own_status(
    number: int, uninterrupted: Path, tiny_shards: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    process = stop_in_the_middle(tiny_shards, folder, number)
    assert process.returncode == 75
    assert process.stdout is not None
    saved = int(list_checkpoints(folder)[-1].name[5:])
    assert f"preempted: checkpoint saved at step {saved}; resume with --resume" in process.stdout.read()
    assert losses(folder)[-1][0] == saved
    assert not (folder / "summary.json").exists()
    result = run(python("pretrain/run.py", "--resume", folder), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert losses(folder) == losses(uninterrupted)
    assert weights_at_the_end(folder) == weights_at_the_end(uninterrupted)
