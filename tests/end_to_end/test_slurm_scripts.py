"""The batch scripts without Slurm and without training: checkout, environment, launch file, resubmission, dry run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from commands import REPOSITORY, SMALL
from slurm_substitutes import SCRIPTS, Slurm
from tiny_shards import write_tiny_shards

TRAINING = ("one_node", "several_nodes")

# A launcher whose trainer saves when it gets SIGUSR1. As accelerate's, it fails when its trainer does not exit with 0.
# (Not in bash, which can't handle signals that its parent ignores.)
ACCELERATE = f"""#!{sys.executable} -SE
import os, pathlib, signal, sys, time
folder = pathlib.Path(os.environ["SUBSTITUTES"])
if trainer := os.fork():
    sys.exit(os.waitpid(trainer, 0)[1] != 0)
def save(number, frame):
    (folder / "saved").touch()
    os._exit(75)
signal.signal(signal.SIGUSR1, save)
lines = [*sys.argv[1:], "MODULES=" + os.environ.get("MODULES", "")]
(folder / "launched.partial").write_text("\\n".join(lines))
(folder / "launched.partial").rename(folder / "launched")
while "ENDLESS" in os.environ:
    time.sleep(0.05)
os._exit(0)
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
export SLURM_NODEID=0
"$@" &
task=$!
trap 'kill -USR1 $task' USR1
wait $task; status=$?
while kill -0 $task 2>/dev/null; do wait $task; status=$?; done
exit $status
"""
# A build or a row that stops on SIGTERM.
STOPPABLE = """#!/bin/bash
trap 'exit 143' TERM
printf '%s\\n' "$@" > "$SUBSTITUTES/launched"
while :; do sleep 0.05; done
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    """Substitutes for Slurm, srun and accelerate."""
    slurm = Slurm(tmp_path / "slurm")
    slurm.add_command("accelerate", ACCELERATE)
    slurm.add_command("srun", SRUN)
    return slurm


def start(slurm: Slurm, script: Path, *words: str, cwd: Path, **more: str) -> subprocess.Popen[str]:
    """Starts a copy of the script, as Slurm does."""
    spool = slurm.folder / "slurm_script"
    shutil.copy(script, spool)
    settings = {"SLURM_SUBMIT_DIR": str(cwd), "SHARDS": "shards", "RUN": "run", "SLURM_GPUS_ON_NODE": "2"}
    settings |= {"SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_NODELIST": "node[1-2]", "ACTIVATE": "/dev/null"}
    return subprocess.Popen(
        ["bash", str(spool), *words],
        cwd=cwd,
        env=slurm.environment(**(settings | more)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def ended(job: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = job.communicate(timeout=60)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    return job.returncode, output


def launched(slurm: Slurm) -> list[str]:
    return (slurm.folder / "launched").read_text().splitlines()


def signal_once_started(slurm: Slurm, job: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str]:
    deadline = time.monotonic() + 60
    while not (slurm.folder / "launched").exists():
        assert time.monotonic() < deadline
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.02)
    job.send_signal(number)
    return ended(job)


def checkout(folder: Path) -> Path:
    """A checkout elsewhere, with a space in its path and an environment of its own."""
    for part in ("launch/slurm", "launch/accelerate", "launch/deepspeed"):
        shutil.copytree(REPOSITORY / part, folder / part)
    activate = folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text('export MODULES="own ${UNSET_BY_THE_USER} $#"\n')
    return folder


@pytest.mark.parametrize("name", TRAINING)
def test_a_script_submitted_from_anywhere_finds_its_checkout_and_environment(
    name: str, slurm: Slurm, tmp_path: Path
) -> None:
    elsewhere = checkout(tmp_path / "my checkout")
    slurm.answer(command=f"{elsewhere}/launch/slurm/{name}.sbatch demo --epochs 3")
    job = start(slurm, elsewhere / f"launch/slurm/{name}.sbatch", "demo", "--epochs", "3", cwd=tmp_path, ACTIVATE="")
    status, output = ended(job)
    assert status == 0, output
    words = launched(slurm)
    kind = "gpus_of_one_machine" if name == "one_node" else "several_machines"
    assert words[words.index("--config_file") + 1] == f"{elsewhere}/launch/accelerate/{kind}.yaml"
    assert words[words.index("--num_processes") + 1] == ("2" if name == "one_node" else "4")
    place = words.index(f"{elsewhere}/pretrain/run.py")
    assert words[place + 1 : -1] == ["demo", "--epochs", "3", "--shards", "shards", "--out", "run"]
    # The file that is sourced sees no word of the script, and may use unset variables.
    assert words[-1] == "MODULES=own  0"


def test_an_active_environment_stays_and_a_file_may_be_named(slurm: Slurm, tmp_path: Path) -> None:
    script = checkout(tmp_path / "checkout") / "launch/slurm/one_node.sbatch"
    folder = str(tmp_path / "checkout")
    for active in ({"VIRTUAL_ENV": "/other"}, {"CONDA_DEFAULT_ENV": "other"}):
        assert ended(start(slurm, script, cwd=tmp_path, EARSHOT=folder, ACTIVATE="", **active))[0] == 0
        assert launched(slurm)[-1] == "MODULES="
    (tmp_path / "modules.sh").write_text("export MODULES=cuda\n")
    job = start(slurm, script, cwd=tmp_path, EARSHOT=folder, ACTIVATE="modules.sh", VIRTUAL_ENV="/other")
    assert ended(job)[0] == 0
    assert launched(slurm)[-1] == "MODULES=cuda"
    status, output = ended(start(slurm, script, cwd=tmp_path, EARSHOT=folder, ACTIVATE="no.sh"))
    assert status == 2
    assert "ACTIVATE must be a file to source, such as .venv/bin/activate, got no.sh" in output


@pytest.mark.parametrize("name", TRAINING)
def test_the_launch_file_is_chosen_by_config(name: str, slurm: Slurm, tmp_path: Path) -> None:
    script = SCRIPTS / f"{name}.sbatch"
    more = {"EARSHOT": str(REPOSITORY), "CONFIG": "launch/accelerate/deepspeed_zero2.yaml"}
    status, output = ended(start(slurm, script, cwd=tmp_path, **more))
    assert status == 0, output
    words = launched(slurm)
    assert words[words.index("--config_file") + 1] == f"{REPOSITORY}/launch/accelerate/deepspeed_zero2.yaml"
    # Its own path to the DeepSpeed configuration is relative to the checkout.
    assert words[words.index("--deepspeed_config_file") + 1] == f"{REPOSITORY}/launch/deepspeed/zero2.json"
    (tmp_path / "mine.yaml").write_text("distributed_type: MULTI_GPU\nnum_machines: 1\n")
    assert ended(start(slurm, script, cwd=tmp_path, **(more | {"CONFIG": "mine.yaml"})))[0] == 0
    assert launched(slurm)[launched(slurm).index("--config_file") + 1] == "mine.yaml"
    status, output = ended(start(slurm, script, cwd=tmp_path, **(more | {"CONFIG": "zero9.yaml"})))
    assert status == 2
    assert "CONFIG must be a launch file of accelerate, got zero9.yaml" in output
    (tmp_path / "run.yaml").write_text("epochs: 3\n")
    status, output = ended(start(slurm, script, cwd=tmp_path, **(more | {"CONFIG": "run.yaml"})))
    assert status == 2
    assert "run.yaml has neither compute_environment nor distributed_type" in output


def test_a_launch_file_for_several_machines_is_not_for_one_node(slurm: Slurm, tmp_path: Path) -> None:
    more = {"EARSHOT": str(REPOSITORY), "CONFIG": "launch/accelerate/several_machines.yaml"}
    status, output = ended(start(slurm, SCRIPTS / "one_node.sbatch", cwd=tmp_path, **more))
    assert status == 2
    assert "several_machines.yaml has num_machines: 2; submit several_nodes.sbatch for it" in output
    (tmp_path / "two.json").write_text('{\n  "distributed_type": "MULTI_GPU",\n  "num_machines": 2\n}\n')
    status, output = ended(start(slurm, SCRIPTS / "one_node.sbatch", cwd=tmp_path, **(more | {"CONFIG": "two.json"})))
    assert status == 2
    assert "two.json has num_machines: 2" in output


@pytest.mark.parametrize("name", TRAINING)
def test_a_run_that_exists_is_resumed_and_its_words_are_ignored_aloud(name: str, slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").touch()
    script, note = SCRIPTS / f"{name}.sbatch", "note: run exists and is resumed; the words demo --epochs 3 are ignored"
    for more, says in (({}, True), ({"SLURM_RESTART_COUNT": "1"}, False), ({"RESUBMISSIONS": "1"}, False)):
        job = start(slurm, script, "demo", "--epochs", "3", cwd=tmp_path, EARSHOT=str(REPOSITORY), **more)
        status, output = ended(job)
        assert status == 0, output
        assert launched(slurm)[-3:-1] == ["--resume", "run"]
        assert (note in output) == says
    assert "note" not in ended(start(slurm, script, cwd=tmp_path, EARSHOT=str(REPOSITORY)))[1]


def test_a_checkout_that_is_not_found_is_asked_for(slurm: Slurm, tmp_path: Path) -> None:
    not_found = f"which was not found around the script or from the folder {tmp_path}; add EARSHOT=DIR to --export"
    given = {"EARSHOT": str(tmp_path)}
    for more, got in (({}, not_found), ({"SLURM_SUBMIT_DIR": ""}, not_found), (given, f"got {tmp_path}; add")):
        status, output = ended(start(slurm, SCRIPTS / "one_node.sbatch", cwd=tmp_path, **more))
        assert status == 2
        assert f"EARSHOT must be the folder of Earshot's checkout, {got}" in output


@pytest.mark.parametrize("name", TRAINING)
def test_a_job_that_the_cluster_does_not_requeue_is_resubmitted(name: str, slurm: Slurm, tmp_path: Path) -> None:
    slurm.answer(refuses=True)
    more = {"EARSHOT": str(REPOSITORY), "ENDLESS": "1", "SLURM_GPUS_PER_NODE": "2", "SLURM_CPUS_PER_TASK": "8"}
    job = start(slurm, SCRIPTS / f"{name}.sbatch", "demo", "--epochs", "3", cwd=tmp_path, **more)
    status, output = signal_once_started(slurm, job, signal.SIGUSR1)
    assert (slurm.folder / "saved").exists()
    assert status != 0
    assert "requeueing was refused: resubmitted as job 815 (resubmission 1 of at most 20)" in output
    assert slurm.requests == [
        "scontrol requeue 4711",
        "sbatch --parsable --dependency=afterany:4711 --export=ALL --job-name=earshot --partition=gpu --account=lab "
        "--qos=low --time=2-00:00:00 --nodes=2 --output=/somewhere/slurm-4711.out --gpus-per-node=2 --cpus-per-task=8 "
        f"{slurm.folder}/slurm_script demo --epochs 3",
        f"EARSHOT={REPOSITORY}",
        "RESUBMISSIONS=1",
    ]


@pytest.mark.parametrize(
    ("number", "answers", "counted", "resubmitted"),
    [
        (signal.SIGUSR1, {"state": "COMPLETING"}, "19", True),
        (signal.SIGUSR1, {"state": "COMPLETING"}, "20", False),
        (signal.SIGTERM, {"state": "COMPLETING", "preempted": "2026-11-01T12:00:00"}, "0", True),
        (signal.SIGTERM, {"state": "COMPLETING"}, "0", False),
        (signal.SIGUSR1, {"state": "CANCELLED"}, "0", False),
    ],
    ids=["announced", "too often", "preempted", "perhaps scancel", "scancel"],
)
def test_only_preempted_jobs_are_resubmitted_and_not_endlessly(
    number: signal.Signals, answers: dict[str, str], counted: str, resubmitted: bool, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.answer(refuses=True, **answers)
    more = {"EARSHOT": str(REPOSITORY), "ENDLESS": "1", "RESUBMISSIONS": counted}
    job = start(slurm, SCRIPTS / "one_node.sbatch", cwd=tmp_path, **more)
    _, output = signal_once_started(slurm, job, number)
    assert any(line.startswith("sbatch") for line in slurm.requests) == resubmitted
    assert ("MAX_RESUBMISSIONS=20; submit the same command to resume" in output) == (counted == "20")


@pytest.mark.parametrize(
    ("answers", "modes", "resubmitted"),
    [
        ({"later_state": "PENDING"}, {"mode": "CANCEL"}, False),
        ({"later_state": "REQUEUED"}, {"mode": "CANCEL"}, False),
        ({"later_state": "REQUEUE_HOLD"}, {"mode": "CANCEL"}, False),
        ({}, {"mode": "GANG,REQUEUE"}, False),
        ({"requeue": 0}, {"mode": "REQUEUE"}, True),
        ({}, {"mode": "CANCEL", "kind": "partition_prio", "of_partition": "REQUEUE"}, False),
        ({}, {"mode": "REQUEUE", "kind": "partition_prio", "of_partition": "CANCEL"}, True),
    ],
    ids=["pending", "requeued", "held", "by its mode", "not this job", "by its partition", "not its partition"],
)
def test_a_job_that_slurm_requeues_by_itself_is_not_submitted_twice(
    answers: dict[str, Any], modes: dict[str, str], resubmitted: bool, slurm: Slurm, tmp_path: Path
) -> None:
    slurm.answer(refuses=True, state="COMPLETING", preempted="2026-11-01T12:00:00", **answers)
    slurm.preempts(**modes)
    job = start(slurm, SCRIPTS / "one_node.sbatch", cwd=tmp_path, EARSHOT=str(REPOSITORY), ENDLESS="1")
    _, output = signal_once_started(slurm, job, signal.SIGTERM)
    assert slurm.requests[0] == "scontrol requeue 4711"
    assert any(line.startswith("sbatch") for line in slurm.requests) == resubmitted
    assert ("not resubmitted: Slurm requeues this job by itself" in output) != resubmitted


def test_a_resubmitted_job_keeps_its_own_file_of_errors(slurm: Slurm, tmp_path: Path) -> None:
    slurm.answer(refuses=True, errors="/somewhere/errors.txt")
    job = start(slurm, SCRIPTS / "one_node.sbatch", cwd=tmp_path, EARSHOT=str(REPOSITORY), ENDLESS="1")
    signal_once_started(slurm, job, signal.SIGUSR1)
    assert " --output=/somewhere/slurm-4711.out --error=/somewhere/errors.txt " in slurm.requests[1]


def test_a_resubmitted_part_of_a_build_keeps_its_number(slurm: Slurm, tmp_path: Path) -> None:
    slurm.answer(refuses=True)
    slurm.add_command("builder", STOPPABLE)
    numbers = {"ARRAY_JOB_ID": "4700", "ARRAY_TASK_ID": "6", "ARRAY_TASK_MIN": "2", "ARRAY_TASK_MAX": "8"}
    numbers |= {"ARRAY_TASK_COUNT": "4"}
    more = {"EARSHOT": str(REPOSITORY), "PYTHON": "builder", **{f"SLURM_{key}": text for key, text in numbers.items()}}
    script = SCRIPTS / "build_array.sbatch"
    signal_once_started(slurm, start(slurm, script, "--out", "set", cwd=tmp_path, **more), signal.SIGUSR1)
    assert launched(slurm) == [f"{REPOSITORY}/shards/run.py", "build", "--part", "array", "--out", "set"]
    assert slurm.requests[0] == "scontrol requeue 4700_6"
    assert "--dependency=afterany:4700_6 " in slurm.requests[1]
    assert slurm.requests[1].endswith(f" --array=6 {slurm.folder}/slurm_script --out set")
    assert slurm.requests[2:] == ["BUILD_PART=3/4", f"EARSHOT={REPOSITORY}", "RESUBMISSIONS=1"]
    # The resubmitted task is an array of one.
    (slurm.folder / "launched").unlink()
    alone = {"SLURM_ARRAY_TASK_MIN": "6", "SLURM_ARRAY_TASK_MAX": "6", "SLURM_ARRAY_TASK_COUNT": "1"}
    job = start(slurm, script, "--out", "set", cwd=tmp_path, **(more | alone | {"BUILD_PART": "3/4"}))
    signal_once_started(slurm, job, signal.SIGUSR1)
    assert launched(slurm)[3] == "3/4"
    assert "BUILD_PART=3/4" in slurm.requests[-3:]


@pytest.mark.parametrize("name", [*TRAINING, "build_array"])
def test_a_dry_run_checks_and_prints_the_command(name: str, slurm: Slurm, tmp_path: Path) -> None:
    (tmp_path / "work" / "shards").mkdir(parents=True)
    (tmp_path / "work" / "shards" / "manifest.json").write_text("{}")
    slurm.add_command("python", '#!/bin/sh\necho "pretrain: $PLANNED_PROCESSES, $*"\n')
    settings = slurm.environment(SHARDS="shards", RUN="runs/new", SLURM_GPUS_ON_NODE="2", ACTIVATE="/dev/null")
    for key in ("SLURM_JOB_ID", "SLURM_SUBMIT_DIR"):
        settings.pop(key, None)

    def dry_run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(SCRIPTS / f"{name}.sbatch"), *words]
        return subprocess.run(
            command, cwd=tmp_path / "work", env=settings | more, capture_output=True, text=True, check=False
        )

    before = sorted(tmp_path.rglob("*"))
    for result in (dry_run("--dry-run", "demo", "--name", "two words"), dry_run("demo", DRY_RUN="1")):
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"folder  {tmp_path}/work\n" in result.stdout
        script = "shards/run.py build --part array demo" if name == "build_array" else "pretrain/run.py demo"
        assert f" {REPOSITORY}/{script}" in result.stdout
        assert "failed" not in result.stdout
    assert r"two\ words" in dry_run("--dry-run", "two words").stdout
    if name in TRAINING:
        result = dry_run("--dry-run", SHARDS="no-shards")
        assert result.returncode == 2
        assert "failed  the shard set no-shards has a manifest.json" in result.stdout
        assert "ok      the run folder runs/new can be written: it is new" in result.stdout
        says = dry_run("--dry-run", "demo").stdout
        words = "demo --shards shards --out runs/new"
        processes = 2 if name == "one_node" else 4
        assert f"ok      the words are valid for {processes} processes: {words}\n" in says
        assert f"        pretrain: {processes}, {REPOSITORY}/pretrain/run.py {words} --dry-run\n" in says
    assert sorted(tmp_path.rglob("*")) == before
    assert slurm.requests == []


def test_a_dry_run_checks_the_words_of_a_training(slurm: Slurm, tmp_path: Path) -> None:
    write_tiny_shards(tmp_path / "shards", {"train": 20, "val": 6, "test": 6})
    slurm.add_command("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')

    def dry_run(*words: str, **more: str) -> tuple[int, str]:
        job = start(
            slurm, SCRIPTS / "one_node.sbatch", "--dry-run", *words, cwd=tmp_path, EARSHOT=str(REPOSITORY), **more
        )
        return ended(job)

    for words, more, says in (
        (("soundingerth-resnet18",), {}, "soundingerth-resnet18"),
        (("demo", "--epoks", "3"), {}, "--epoks"),
        (("demo", "--epoks", "3"), {"SHARDS": "s3://bucket/shards"}, "--epoks"),
        (
            ("demo", *SMALL, "--batch-size", "9"),
            {},
            "batch_size must be divisible by processes x optimizer.accumulation = 2 x 1",
        ),
    ):
        status, output = dry_run(*words, **more)
        assert status == 2, output
        assert f"failed  the words are valid for 2 processes: {' '.join(words)} --shards" in output
        assert says in output.partition("failed  the words")[2]
    status, output = dry_run("demo", *SMALL, "--batch-size", "8", "--model.norm", "sync")
    assert status == 0, output
    assert "8 = 2 processes x 4 pairs" in output
    status, output = dry_run("demo", SHARDS="s3://bucket/shards")
    assert status == 0, output
    assert not (tmp_path / "run").exists()


def test_a_dry_run_without_an_environment_asks_for_one(slurm: Slurm, tmp_path: Path) -> None:
    (slurm.folder / "bin" / "accelerate").unlink()
    where = {"EARSHOT": str(REPOSITORY), "PYTHON": "no-python", "PATH": f"{slurm.folder / 'bin'}:/usr/bin:/bin"}
    status, output = ended(start(slurm, SCRIPTS / "one_node.sbatch", "--dry-run", "demo", cwd=tmp_path, **where))
    assert status == 2
    assert "failed  accelerate is not on the PATH; set ACTIVATE\n" in output
    assert "failed  no-python is not on the PATH, so the words can't be checked; set ACTIVATE\n" in output


def test_all_scripts_find_their_checkout_in_the_same_way() -> None:
    texts = [path.read_text() for path in SCRIPTS.glob("*.sbatch")]
    blocks = {text[text.index("# Slurm runs a copy") : text.index("\nactivate\n")] for text in texts}
    assert len(texts) == 3
    assert len(blocks) == 1
    assert os.access(SCRIPTS / "job.sh", os.R_OK)
