"""Submits the unfinished rows of a plan as an array of Slurm jobs, and a last job that writes the tables."""

from __future__ import annotations

import hashlib
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from launch.comparison.command_line import Options
from launch.comparison.sbatch_options import without_resources
from launch.comparison.steps import REPOSITORY
from shards.atomic_files import write_text_atomically
from shards.errors import UserError

JOBS_NAME, REPORT_NAME = "jobs.sbatch", "report.sbatch"
LOGS_FOLDER = "slurm"
REPORT_MINUTES = 30

JOBS = """#!/usr/bin/env bash
# One row of a plan per task; on preemption or at the time limit it saves and is requeued.
#SBATCH --job-name={name}
#SBATCH --array={array}%{at_once}
#SBATCH --output={logs}/row-%a.txt
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@180
{more}
set -u
cd "${{SLURM_SUBMIT_DIR:-.}}"
EARSHOT={checkout}
. "$EARSHOT/launch/slurm/job.sh"
# For modules and variables. The Python is that of the submission, whatever environment is active.
[ -z "${{ACTIVATE:-}}" ] || activate

# The row's command saves and exits with status 143.
run_stoppable {command} --row "$SLURM_ARRAY_TASK_ID"
status=$?

if [ "$status" = 143 ]; then
  more_options=(--array="$SLURM_ARRAY_TASK_ID")
  # By its number in the array: the job id alone would requeue the whole array.
  come_back "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID" "$0"
  # The job that writes the tables waits for the array, which a resubmitted row is not part of.
  if [ -n "${{resubmitted:-}}" ]; then RESUBMISSIONS=1 submit --dependency="afterany:$resubmitted" {report}; fi
fi
exit "$status"
"""

REPORT = """#!/usr/bin/env bash
# Writes the tables after all rows have ended, successfully or not.
#SBATCH --job-name={name}-report
#SBATCH --output={logs}/report.txt
#SBATCH --ntasks=1
#SBATCH --time={report_minutes}
{report_more}
cd "${{SLURM_SUBMIT_DIR:-.}}"
# After a resubmitted row, other rows may still be running.
[ -n "${{RESUBMISSIONS:-}}" ] || set -- --plan-is-over
exec {command} --report-only "$@"
"""


def submit_rows(options: Options, name: str, missing: Sequence[int], before: Callable[[], object]) -> str:
    """Writes DIR/jobs.sbatch, an array over the unfinished rows, and DIR/report.sbatch, and submits both.

    The jobs read a copy of the plan named by its checksum, so that editing or resubmitting the plan does not affect
    queued jobs.

    Args:
        options: options of the command line.
        name: name of the plan.
        missing: numbers of the unfinished rows, ascending.
        before: called before the first job is submitted.

    Returns:
        A message that says what was submitted.

    Raises:
        UserError: sbatch is not available, or it failed.
    """
    if not missing:
        return "nothing to submit: all rows are done"
    if shutil.which("sbatch") is None:
        raise UserError("--slurm needs sbatch, which is not on the PATH; submit from a login node")
    out = options.out.resolve()
    (out / LOGS_FOLDER).mkdir(exist_ok=True)
    for path, text in job_files(options, name, missing).items():
        write_text_atomically(path, text)
    before()
    job = _sbatch(str(out / JOBS_NAME))
    last = _sbatch(f"--dependency=afterany:{job}", str(out / REPORT_NAME))
    rows = _ranges(missing)
    return f"submitted rows {rows} as job {job}, {options.jobs_at_once} at once, and the tables as {last}"


def job_files(options: Options, name: str, missing: Sequence[int]) -> dict[Path, str]:
    """The files that `submit_rows` writes: the plan's copy and the two job files, by path.

    Args:
        options: options of the command line.
        name: name of the plan.
        missing: numbers of the unfinished rows, ascending.
    """
    out = options.out.resolve()
    text = options.plan.read_text(encoding="utf-8")
    plan = out / f"jobs-{hashlib.sha256(text.encode()).hexdigest()[:12]}.plan.yaml"
    values = {
        "name": f"earshot-{name}".replace(" ", "-"),
        "array": _ranges(missing),
        "at_once": options.jobs_at_once,
        "logs": out / LOGS_FOLDER,
        "more": _directives(options.sbatch),
        "report_more": _directives(filter(None, map(without_resources, options.sbatch))),
        "report_minutes": REPORT_MINUTES,
        "command": shlex.join(_command(options, plan, out)),
        "checkout": shlex.quote(str(REPOSITORY)),
        "report": shlex.quote(str(out / REPORT_NAME)),
    }
    return {plan: text, out / JOBS_NAME: JOBS.format(**values), out / REPORT_NAME: REPORT.format(**values)}


def _directives(lines: Iterable[str]) -> str:
    return "".join(f"#SBATCH {line}\n" for line in lines)


def _command(options: Options, plan: Path, out: Path) -> list[str]:
    return [
        *(sys.executable, str(REPOSITORY / "launch" / "compare.py"), str(plan), "--out", str(out)),
        *([] if options.shards is None else ["--shards", options.shards]),
        *(word for root in options.root for word in ("--root", root)),
    ]


def _ranges(numbers: Sequence[int]) -> str:
    """Formats numbers as sbatch expects them for arrays: 1-3,7."""
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), key=lambda entry: entry[1] - entry[0])]
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _sbatch(*words: str) -> str:
    """Submits a script and returns its job id."""
    done = subprocess.run(["sbatch", "--parsable", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"sbatch failed: {' '.join(done.stderr.split()) or f'status {done.returncode}'}")
    return done.stdout.strip().split(";")[0]
