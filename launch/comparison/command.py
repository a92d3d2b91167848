"""The command that compares methods: runs a plan's rows or one, submits Slurm jobs, or only writes the tables."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from launch.comparison.command_line import Options, parse
from shards.loading import Loading
from shards.loudness import note

if TYPE_CHECKING:
    from launch.comparison.plan import Plan
    from launch.comparison.rows import Row


def main(words: list[str], command: str) -> None:
    """Loads and checks the plan; then runs its rows or one of them, submits Slurm jobs, or only writes the tables."""
    with Loading():
        options = parse(words, command)

        from launch.comparison.plan import load_plan, plan_file
        from launch.comparison.preset_changes import changes_of_presets
        from launch.comparison.rows import check_settings, choose_row, rows_of

    options = replace(options, plan=plan_file(options.plan))
    plan = load_plan(options.plan, shards=options.shards, roots=options.roots)
    rows = rows_of(plan, options.out)
    chosen = [choose_row(rows, options.row)] if options.row else rows
    if not options.report_only:
        check_settings(chosen)
        for line in changes_of_presets(plan, rows):
            note(line, sys.stdout)
    if options.dry_run:
        # For whatever asks the hub without having to, such as a client that looks for a newer version.
        os.environ["HF_HUB_OFFLINE"] = "1"
        with Loading():
            from launch.comparison.dry_run import dry_run

        dry_run(options, plan, rows, chosen)
        return
    _carry_out(options, plan, rows, chosen)


def _carry_out(options: Options, plan: Plan, rows: list[Row], chosen: list[Row]) -> None:
    """Carries out a plan whose settings are checked; exits with status 1 if rows failed."""
    with Loading():  # only now, for these import torch
        from launch.comparison.checks import check_rows
        from launch.comparison.parent_run import ParentRun
        from launch.comparison.report import write_report
        from launch.comparison.running import is_done, run_rows
        from launch.comparison.slurm import submit_rows
        from pretrain.training.preparation import build_missing_demo_shards
        from shards.errors import end_on_sigterm
        from shards.locks import lock_folder

    parent = ParentRun(plan, rows, options.out, options.plan)
    report = partial(write_report, plan, rows, options.out)
    failed: list[Row] = []
    if not options.report_only:
        end_on_sigterm()
        build_missing_demo_shards(rows[0].config)
        check_rows(plan, chosen, here=not options.slurm)
    if options.report_only:
        if options.plan_is_over or all(map(is_done, rows)):
            parent.end()
        print(f"report: {report()}")
    elif options.slurm:
        with lock_folder(options.out, "another command is running a plan in it"):
            print(submit_rows(options, plan.name, [row.number for row in rows if not is_done(row)], parent.begin))
    elif options.row:
        # Other rows may run at the same time: only this row is locked, and the tables are left to --report-only.
        failed = run_rows(plan, chosen, parent.begin(), after_row=lambda: None)
    else:
        with lock_folder(options.out, "another command is running a plan in it"), parent.watching() as environment:
            failed = run_rows(plan, rows, environment, after_row=report)
            print(f"report: {report()}")
    if failed:
        print(f"{len(failed)} of {len(rows)} rows failed; rerun the same command to retry them")
        sys.exit(1)
