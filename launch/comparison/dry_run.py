"""`--dry-run` of a comparison: makes its checks, and prints the steps of each row or the job files; writes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from launch.comparison.checks import check_rows
from launch.comparison.command_line import Options
from launch.comparison.plan import Plan
from launch.comparison.rows import Row
from launch.comparison.running import is_done
from launch.comparison.slurm import job_files
from launch.comparison.steps import steps_of
from pretrain.settings.pretraining import DEMO_SHARDS
from shards.command_line.dry_runs import ENDING, check_can_be_written, free_bytes, print_plan, size_of
from shards.manifest import MANIFEST_NAME


def dry_run(options: Options, plan: Plan, rows: Sequence[Row], chosen: Sequence[Row]) -> None:
    """Prints what a comparison would do.

    Args:
        options: of the command line.
        plan: the plan.
        rows: all its rows.
        chosen: those that would run here.

    Raises:
        UserError: as the comparison.
    """
    check_can_be_written(options.out)
    shards = rows[0].config.shards
    lacks_demo = shards == DEMO_SHARDS and not (Path(shards) / MANIFEST_NAME).is_file()
    if not options.report_only and not lacks_demo:
        check_rows(plan, chosen, here=not options.slurm)
    missing = [row for row in chosen if not is_done(row)]
    if options.report_only:
        missing = []
    elif options.slurm:
        _print_jobs(options, plan, missing)
    else:
        for row in chosen:
            done = {step.label: step.is_done() for step in steps_of(row)}
            steps = ", ".join(f"{label}{' (done)' if is_there else ''}" for label, is_there in done.items())
            print(f"{row.name}: {steps}")
    config = rows[0].config
    there = "missing: the demo's would be built first" if lacks_demo else ""
    ending = "dry run: the settings are checked, the shards are not there yet; nothing was written"
    print_plan(
        {
            "plan": f"{plan.name or options.plan}: {len(rows)} rows of {len(rows[0].benchmarks)} benchmarks each, "
            f"{len(missing)} to run",
            "shards": f"{shards}{f', {there}' if there else ''}",
            "training": f"{config.epochs} epochs of batches of {config.batch_size} in the first row",
            "launch": str(plan.launch_file),
            "writes": f"{options.out}: rows/ (runs and results), report/ (tables); "
            f"{size_of(free_bytes(options.out))} free",
        },
        ending=ending if lacks_demo else ENDING,
    )


def _print_jobs(options: Options, plan: Plan, missing: Sequence[Row]) -> None:
    if not missing:
        print("nothing to submit: all rows are done")
        return
    for path, text in job_files(options, plan.name, [row.number for row in missing]).items():
        print(f"--- {path}\n{text.rstrip()}\n")
    if shutil.which("sbatch") is None:
        print("warning: sbatch is not on the PATH; submit from a login node")
