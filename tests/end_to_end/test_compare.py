"""`launch/compare.py` as users run it: refused, killed and continued, with a row that fails, and as Slurm jobs."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from commands import BIN, PATIENCE_SECONDS, REPOSITORY, environment, python, run, warm_python
from forked_rows import run_forked
from scene_folders import write_scenes

from launch.comparison.plan import load_plan
from launch.comparison.rows import rows_of
from pretrain.training.run_folder import list_checkpoints
from shards.building.build import build
from shards.building.planning import BuildOptions
from shards.demo_world.corpus import generate_demo_corpus

SETTINGS = {
    **{"batch_size": 16, "data.image_size": 32, "model.sound_pooling": 4, "data.workers": 0, "precision": "fp32"},
    **{"validation.crops": 1, "threads": 1, "epochs": 1},
}
"""Settings under which a row takes a second to train."""
LONG = SETTINGS | {"epochs": 1000, "checkpoint.every_steps": 2, "validation.every_epochs": 1000, "tracker": "none"}


def write_plan(folder: Path, shards: Path, **parts: Any) -> Path:
    path = folder / "plan.yaml"
    record = {"name": "small", "shards": str(shards), "settings": SETTINGS} | parts
    path.write_text(yaml.safe_dump(record, sort_keys=False))
    return path


def compare(*words: str | Path) -> list[str]:
    return python("launch/compare.py", *words)


def wait_for(
    condition: Callable[[], bool], process: subprocess.Popen[str], *, seconds: float = PATIENCE_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def forked(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """What a command prints, started as a fork; what it starts are new processes."""
    return warm_python().start(command, cwd=cwd, environment=own_environment()).wait(PATIENCE_SECONDS)


def own_environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in environment(**more).items() if not name.startswith("MLFLOW_")}


def test_a_plan_with_an_error_in_row_7_of_20_is_refused_before_row_1(tiny_shards: Path, tmp_path: Path) -> None:
    methods: dict[str, Any] = {f"method-{i}": {} for i in range(20)}
    methods["method-6"] = {"loss.name": "batch-triplet", "loss.margin": -1}
    plan = write_plan(tmp_path, tiny_shards, methods=methods)
    result = run(compare(plan, "--out", tmp_path / "out"), cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == ("error: row 7 of 20 (method-6, resnet18, seed 0): loss.margin must be > 0, got -1.0\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_plan_killed_after_a_training_goes_on_and_ends_in_tables(tiny_shards: Path, tmp_path: Path) -> None:
    scenes, out = write_scenes(tmp_path / "scenes"), tmp_path / "out"
    plan = write_plan(
        tmp_path,
        tiny_shards,
        methods={"batch-triplet": {}, "contrastive": {"loss.name": "contrastive"}},
        benchmarks={
            "retrieval": {"split": "test", "crops": 1},
            "scenes": {"benchmark": "folder", "protocol": "knn", "num_seeds": 2, "image_size": 32, "workers": 0},
        },
    )
    command = compare(plan, "--out", out, "--root", f"scenes={scenes}")
    first_row, second_row = (out / "rows" / name / "resnet18" / "seed-0" for name in ("batch-triplet", "contrastive"))
    process = subprocess.Popen(command, cwd=tmp_path, env=own_environment(), stdout=subprocess.PIPE, text=True)
    wait_for((first_row / "run" / "summary.json").is_file, process)
    process.kill()
    process.communicate()
    files = [first_row / "run" / name for name in ("metrics.jsonl", "summary.json", "model/model.safetensors")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]

    result = forked(command, tmp_path)
    assert result.returncode == 0, result.stderr
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before
    changes, *lines = result.stdout.splitlines()
    assert changes.startswith("the plan changes settings of preset demo: model.image_encoder resnet18 (preset: narrow")
    assert lines[0].startswith("row 1 of 2 (batch-triplet, resnet18, seed 0):")
    assert "training" not in lines[0]
    assert lines[1].startswith("row 2 of 2 (contrastive, resnet18, seed 0): training… ")
    assert lines[2] == f"report: {out / 'report' / 'comparison.html'}"
    for row in (first_row, second_row):
        assert json.loads((row / "retrieval" / "metrics.json").read_text())["gallery_size"] == 24
        assert json.loads((row / "scenes" / "results.json").read_text())["weights"] == str(row / "run")
    with (out / "report" / "runs.csv").open() as file:
        assert [line["state"] for line in csv.DictReader(file)] == ["done", "done"]

    with closing(sqlite3.connect(out / "mlflow.db")) as store:
        runs = {
            run_id: (name, status) for run_id, name, status in store.execute("select run_uuid, name, status from runs")
        }
        parents = dict(store.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'"))
        experiments = store.execute(
            "select name from experiments where experiment_id in (select experiment_id from runs)"
        )
        assert experiments.fetchall() == [("earshot",)]
    parent = next(run_id for run_id, (name, _) in runs.items() if name == "small")
    assert {status for _, status in runs.values()} == {"FINISHED"}
    assert set(parents) == set(runs) - {parent}
    assert set(parents.values()) == {parent}
    trained = {name for name, _ in runs.values()}
    assert {f"rows/{method}/resnet18/seed-0/run" for method in ("batch-triplet", "contrastive")} <= trained
    assert (out / "mlartifacts" / parent / "artifacts" / "plan.yaml").is_file()

    # As a run that was killed after its last step, before it had said so.
    (second_row / "run" / "summary.json").unlink()
    again = forked(command, tmp_path)
    assert again.returncode == 0, again.stdout
    assert again.stdout.splitlines()[1] == "1 of 2 rows are already done"
    assert "row 1" not in again.stdout
    assert json.loads((second_row / "run" / "summary.json").read_text())["epochs"] == 1
    changed = plan.read_text().replace("loss.name: contrastive", "loss.name: naive-triplet")
    plan.write_text(changed)
    refused = forked(command, tmp_path)
    assert refused.returncode == 2
    assert "row 2 of 2 (contrastive, resnet18, seed 0): loss.name was contrastive when it was started" in refused.stderr


@pytest.mark.slow
def test_the_demo_plan_in_its_smallest_form(tmp_path: Path) -> None:
    # The plan as it stands in launch/plans, on a demo world of 80 places and for an epoch in place of a minute.
    world, shards, out = tmp_path / "world", tmp_path / "shards", tmp_path / "out"
    generate_demo_corpus(world, num_places=80, image_size=64, clip_seconds=3.5, num_workers=0, show_progress=False)
    build(BuildOptions("recordings", shards, world, workers=1))
    record = yaml.safe_load((REPOSITORY / "launch" / "plans" / "demo.yaml").read_text())
    small = {"settings": SETTINGS | {"tracker": "none"}, "shards": str(shards)}
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(record | small, sort_keys=False))
    plan = load_plan(tmp_path / "demo.yaml", roots={"demo-scenes": world})
    run_forked(plan, rows_of(plan, out), out, cwd=tmp_path)

    table = pd.read_csv(out / "report" / "comparison.csv").set_index("method")
    assert list(table.index) == ["random", "batch-triplet", "symmetric-contrastive", "simclr"]
    runs = pd.read_csv(out / "report" / "runs.csv").set_index("method")
    assert set(runs["state"]) == {"done"}
    assert runs["steps"].tolist() == [0, 3, 3, 3]
    for name in ("retrieval/image_to_sound/median_rank", "demo-scenes/accuracy"):
        assert runs[name].notna().all()
    assert (out / "report" / "comparison.html").stat().st_size > 10_000
    assert (out / "report" / "comparison.png").stat().st_size > 10_000
    markdown = (out / "report" / "comparison.md").read_text()
    assert "simclr †" in markdown
    assert "its retrieval is at chance by construction" in markdown


@pytest.mark.slow
def test_a_row_that_fails_is_named_and_the_others_are_run(tiny_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    methods = {"blown-up": {"optimizer.learning_rate": 1e8, "epochs": 3}, "sound": {}}
    settings = SETTINGS | {"tracker": "none", "optimizer.warmup_epochs": 0}
    plan = write_plan(tmp_path, tiny_shards, methods=methods, settings=settings)
    result = run(compare(plan, "--out", out), cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    sentence = (out / "rows" / "blown-up" / "resnet18" / "seed-0" / "failed.txt").read_text().strip()
    assert sentence.startswith("training: ")
    assert "finite" in sentence
    assert f"  failed: {sentence}; see {out}/rows/blown-up/resnet18/seed-0/log.txt" in result.stdout
    assert "1 of 2 rows failed" in result.stdout
    assert (out / "rows" / "sound" / "resnet18" / "seed-0" / "run" / "summary.json").is_file()
    assert not (out / "mlflow.db").exists()
    with (out / "report" / "runs.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["state"] for line in lines] == ["failed", "done"]
    assert lines[0]["reason"] == sentence


def test_a_second_start_of_a_plan_is_refused(tiny_shards: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path, tiny_shards, methods={"a": {}}, settings=LONG)
    (tmp_path / "out").mkdir()
    folder = os.open(tmp_path / "out", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        result = run(compare(plan, "--out", tmp_path / "out"), cwd=tmp_path)
    finally:
        os.close(folder)
    assert result.returncode == 2
    assert "is in use: another command is running a plan in it" in result.stderr


@pytest.mark.slow
def test_a_row_at_work_is_waited_for_and_ctrl_c_saves_it(tiny_shards: Path, tmp_path: Path) -> None:
    row = tmp_path / "out" / "rows" / "a" / "resnet18" / "seed-0"
    plan = write_plan(tmp_path, tiny_shards, methods={"a": {}, "b": {}}, settings=LONG)
    row.mkdir(parents=True)
    with (row / "log.txt").open("ab") as log, (tmp_path / "printed.txt").open("w") as printed:
        fcntl.flock(log, fcntl.LOCK_EX)
        process = subprocess.Popen(
            compare(plan, "--out", tmp_path / "out"), cwd=tmp_path, env=own_environment(), stdout=printed, text=True
        )
        wait_for(
            lambda: "waiting for another process that is running this row…" in (tmp_path / "printed.txt").read_text(),
            process,
        )
        assert not (row / "run").exists()
    wait_for(lambda: bool(list_checkpoints(row / "run")), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_SECONDS) == 130
    log_text = (row / "log.txt").read_text()
    assert "preempted: checkpoint saved at step" in log_text
    assert not (row / "failed.txt").exists()
    assert not (tmp_path / "out" / "rows" / "b").exists()
    # Nothing of it lives on: its lock is free.
    with (row / "log.txt").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_stand_ins(folder: Path) -> None:
    """`sbatch` that numbers jobs and `scontrol`, both noting what they are asked."""
    folder.mkdir()
    notes = folder.parent
    (folder / "sbatch").write_text(
        f'#!/bin/sh\necho "$@" >> {notes}/sbatch.log\nwc -l < {notes}/sbatch.log | sed "s/^ */471/"\n'
    )
    (folder / "scontrol").write_text(f'#!/bin/sh\n[ "$1" = show ] || echo "$@" >> {notes}/scontrol.log\n')
    for path in folder.iterdir():
        path.chmod(0o755)


@pytest.mark.slow
def test_missing_rows_become_an_array_whose_tasks_are_requeued_and_go_on(tiny_shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "my out"
    methods = {"done": {}, "short": {"epochs": 1}, "long": {}}
    plan = write_plan(tmp_path, tiny_shards, methods=methods, settings=LONG)
    short, long = (out / "rows" / name / "resnet18" / "seed-0" / "run" for name in ("short", "long"))
    done = out / "rows" / "done" / "resnet18" / "seed-0" / "run" / "summary.json"
    done.parent.mkdir(parents=True)
    done.write_text(json.dumps({"step": 3}))
    write_stand_ins(tmp_path / "bin")
    settings = own_environment(PATH=f"{tmp_path / 'bin'}:{BIN}:{os.environ['PATH']}")
    more = ["--slurm", "--jobs-at-once", "2", "--sbatch", "--partition=gpu --gres=gpu:1", "--sbatch", "--time=1:00:00"]
    command = compare(plan, "--out", out, *more)
    result = subprocess.run(command, cwd=tmp_path, env=settings, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "submitted rows 2-3 as job 4711, 2 at once, and the tables as 4712" in result.stdout
    assert (tmp_path / "sbatch.log").read_text().splitlines() == [
        f"--parsable {out}/jobs.sbatch",
        f"--parsable --dependency=afterany:4711 {out}/report.sbatch",
    ]
    script = (out / "jobs.sbatch").read_text().splitlines()
    for line in ("--array=2-3%2", "--partition=gpu --gres=gpu:1", "--time=1:00:00", "--requeue"):
        assert f"#SBATCH {line}" in script
    assert (out / "report.sbatch").read_text().splitlines()[-1].endswith(' --report-only "$@"')
    # What waits in the queue does not change with the plan.
    plan.write_text("name: another\n")

    def task(number: int) -> subprocess.Popen[str]:
        numbers = {"SLURM_ARRAY_JOB_ID": "4711", "SLURM_ARRAY_TASK_ID": str(number)}
        more = settings | numbers | {"SLURM_SUBMIT_DIR": str(tmp_path)}
        return subprocess.Popen(["bash", str(out / "jobs.sbatch")], env=more, text=True, stdout=subprocess.PIPE)

    job = task(2)
    output, _ = job.communicate(timeout=PATIENCE_SECONDS)
    assert job.returncode == 0, output
    assert (short / "summary.json").is_file()
    assert not long.exists()

    job = task(3)
    wait_for(lambda: bool(list_checkpoints(long)), job)
    job.send_signal(signal.SIGUSR1)
    job.communicate(timeout=PATIENCE_SECONDS)
    assert (tmp_path / "scontrol.log").read_text() == "requeue 4711_3\n"
    saved = list_checkpoints(long)[-1].name
    job = task(3)
    wait_for(lambda: list_checkpoints(long)[-1].name > saved, job)
    job.send_signal(signal.SIGTERM)
    job.communicate(timeout=PATIENCE_SECONDS)
    log = (long.parent / "log.txt").read_text()
    assert log.count("preempted: checkpoint saved at step") == 2
    assert f"resuming {long} at step {int(saved[5:])} of 3000" in log

    report = subprocess.run(
        ["bash", str(out / "report.sbatch")], env=settings | {"SLURM_SUBMIT_DIR": str(tmp_path)}, check=True
    )
    assert report.returncode == 0
    with (out / "report" / "runs.csv").open() as file:
        assert [line["state"] for line in csv.DictReader(file)] == ["done", "done", "training"]
