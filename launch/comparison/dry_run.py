"""`--dry-run` of a comparison: makes its checks, and prints the costs of each row and the job files; no network."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from launch.comparison.checks import check_rows
from launch.comparison.command_line import Options
from launch.comparison.costs import Sizes, describe_row, describe_weights
from launch.comparison.plan import Plan
from launch.comparison.rows import Row
from launch.comparison.running import is_done
from launch.comparison.slurm import job_files
from launch.comparison.steps import Training
from pretrain.settings.pretraining import DEMO_SHARDS
from pretrain.weights.published_weights import published_weights, unknown_encoders
from shards.command_line.dry_runs import ENDING, check_can_be_written, free_bytes, print_plan, size_of
from shards.manifest import MANIFEST_NAME
from shards.streaming.locations import is_url

UNSEEN = {True: "not there yet", False: "at an address and not opened"}
"""Why shards were not looked at, by whether they are the demo's."""


def dry_run(options: Options, plan: Plan, rows: Sequence[Row], chosen: Sequence[Row]) -> None:
    """Prints what a comparison would do; writes nothing, and fetches no weights, shards or data.

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
    sizes = Sizes()
    if not options.report_only and not lacks_demo:
        sizes = check_rows(plan, chosen, here=not options.slurm, fetches=False)
    missing = [row for row in chosen if not is_done(row)]
    if options.report_only:
        missing = []
    elif options.slurm:
        _print_jobs(options, plan, missing)
    if not options.report_only:
        untrained = [row.config for row in missing if not Training(row).is_done()]
        lines = [describe_row(row, sizes) for row in chosen]
        lines += describe_weights(file for config in untrained for file in published_weights(config))
        unknown = dict.fromkeys(name for config in untrained for name in unknown_encoders(config))
        lines += [f"not checked: {name}, whose architecture would be fetched first" for name in unknown]
        print("\n".join(lines))
    there = "missing: the demo's would be built first" if lacks_demo else "not opened" if is_url(shards) else ""
    ending = f"dry run: the settings are checked, the shards are {UNSEEN[lacks_demo]}; nothing was written"
    print_plan(
        {
            "plan": f"{plan.name or options.plan}: {len(rows)} rows of {len(rows[0].benchmarks)} benchmarks each, "
            f"{len(missing)} to run",
            "shards": f"{shards}{f', {there}' if there else ''}",
            "launch": str(plan.launch_file),
            "writes": f"{options.out}: rows/ (runs and results), report/ (tables); "
            f"{size_of(free_bytes(options.out))} free",
        },
        ending=ending if there else ENDING,
    )


def _print_jobs(options: Options, plan: Plan, missing: Sequence[Row]) -> None:
    if not missing:
        print("nothing to submit: all rows are done")
        return
    for path, text in job_files(options, plan.name, [row.number for row in missing]).items():
        print(f"--- {path}\n{text.rstrip()}\n")
    if shutil.which("sbatch") is None:
        print("warning: sbatch is not on the PATH; submit from a login node")
