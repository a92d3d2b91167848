"""What is submitted to Slurm keeps the plan that it was submitted with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from commands import REPOSITORY
from slurm_substitutes import Slurm

from launch.comparison.command_line import parse
from launch.comparison.sbatch_options import without_resources
from launch.comparison.slurm import job_files, submit_rows


def test_a_second_submission_leaves_the_first_one_s_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    # Slurm copies the script when it is submitted.
    sbatch.write_text(f'#!/bin/sh\nfor file; do :; done; cat "$file" >> {tmp_path}/submitted\necho 7\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    plan, out = tmp_path / "plan.yaml", tmp_path / "out"
    out.mkdir()
    for text in ("name: one\n", "name: another\n"):
        plan.write_text(text)
        submit_rows(parse([str(plan), "--out", str(out), "--slurm"]), "n", [1], lambda: None)
    lines = (tmp_path / "submitted").read_text().splitlines()
    read = [word for line in lines for word in line.split() if word.endswith(".plan.yaml")]
    assert [Path(path).read_text() for path in dict.fromkeys(read)] == ["name: one\n", "name: another\n"]


def test_the_job_that_writes_the_tables_asks_for_no_gpu(tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("name: one\n")
    lines = ("--gres=gpu:1 --partition=gpu -c 16", "--time=12:00:00", "--account lab --mem 64G -G2 -q low")
    words = [word for line in lines for word in ("--sbatch", line)]
    options = parse([str(plan), "--out", str(tmp_path / "out"), "--slurm", *words])
    jobs, report = (
        [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
        for path, text in job_files(options, "n", [1]).items()
        if path.suffix == ".sbatch"
    )
    assert jobs[-3:] == list(lines)
    assert report[2:] == ["--ntasks=1", "--time=30", "--partition=gpu", "--account lab -q low"]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("--cpus=4 --qos=low", "--qos=low"),  # a shortened name, as sbatch takes it
        ("-N2 -p gpu", "-p gpu"),
        ("--exclusive --constraint=h100 --mail-user=me", "--constraint=h100 --mail-user=me"),
        ('--nodes 2 --comment="two words"', '--comment="two words"'),
    ],
)
def test_resources_are_taken_out_of_the_options_of_sbatch(line: str, kept: str) -> None:
    assert without_resources(line) == kept


def test_a_row_that_the_cluster_does_not_requeue_is_resubmitted_and_the_tables_follow_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = Slurm(tmp_path / "slurm")
    slurm.answer(refuses=True, state="COMPLETING")
    slurm.add_command("row", "#!/bin/bash\ntrap 'exit 143' TERM\nkill -USR1 $PPID\nwhile :; do sleep 0.05; done\n")
    slurm.add_command("compare", '#!/bin/sh\necho "$@" > "$SUBSTITUTES/report"\n')
    for name, value in slurm.environment().items():
        monkeypatch.setenv(name, value)
    plan, out = tmp_path / "plan.yaml", tmp_path / "my out"
    out.mkdir()
    plan.write_text("name: one\n")
    monkeypatch.setattr("sys.executable", "row")
    submit_rows(parse([str(plan), "--out", str(out), "--slurm"]), "n", [1, 3], lambda: None)
    task = {"SLURM_ARRAY_JOB_ID": "815", "SLURM_ARRAY_TASK_ID": "3", "SLURM_SUBMIT_DIR": str(tmp_path)}
    job = subprocess.run(["bash", str(out / "jobs.sbatch")], env=os.environ | task, check=False, timeout=60)
    assert job.returncode == 143
    asked = slurm.requests[-6:]
    assert asked[0] == "scontrol requeue 815_3"
    assert asked[1].startswith("sbatch --parsable --dependency=afterany:815_3 --export=ALL --job-name=earshot ")
    assert asked[1].endswith(f" --array=3 {out}/jobs.sbatch")
    assert asked[2:] == [
        f"EARSHOT={REPOSITORY}",
        "RESUBMISSIONS=1",
        f"sbatch --parsable --dependency=afterany:815 {out}/report.sbatch",
        "RESUBMISSIONS=1",
    ]
    # What ACTIVATE names is sourced, without another interpreter.
    modules = tmp_path / "modules.sh"
    modules.write_text(f"touch {tmp_path}/activated\n")
    more = {"ACTIVATE": str(modules)}
    subprocess.run(["bash", str(out / "jobs.sbatch")], env=os.environ | task | more, check=False, timeout=60)
    assert (tmp_path / "activated").exists()
    script = (out / "report.sbatch").read_text().replace("exec row", "exec compare")
    for more, over in (({}, True), ({"RESUBMISSIONS": "1"}, False)):
        subprocess.run(["bash", "-c", script], env=os.environ | more, cwd=tmp_path, check=True, timeout=60)
        words = (slurm.folder / "report").read_text().split()
        assert "--report-only" in words
        assert ("--plan-is-over" in words) == over


@pytest.mark.parametrize(("number", "announced"), [("USR1", "1"), ("TERM", "0")])
def test_a_signal_that_comes_before_the_command_s_number_is_known_is_passed_on(number: str, announced: str) -> None:
    # Between the command's start and the next line, the script sleeps while the signal comes.
    script = f"""
    . {REPOSITORY}/launch/slurm/job.sh
    set -o functrace
    trap '[ "$BASH_COMMAND" != "stoppable=\\$!" ] || sleep 0.5' DEBUG
    run_stoppable bash -c 'trap "exit 143" TERM; kill -{number} $PPID; while :; do sleep 0.05; done'
    echo "status $? announced $announced"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == (f"status 143 announced {announced}\n", 0)
