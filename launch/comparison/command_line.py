"""Words after `launch/compare.py` → which plan, where to, and whether here, as Slurm jobs, or only the tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from pretrain.settings.options import take_option
from shards.errors import UserError


@dataclass(frozen=True)
class Options:
    """Runs what is missing of a plan (methods × backbones × seeds × benchmarks) and writes its tables.

    python launch/compare.py PLAN --out DIR
    """

    plan: tyro.conf.Positional[Path]
    """A YAML file, such as launch/plans/demo.yaml."""
    out: Path
    """The folder for runs and tables; a plan that was stopped goes on in it."""
    shards: str | None = None
    """The shard set, in place of the plan's."""
    root: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """LABEL=DIR: the folder of a benchmark's data, in place of the plan's; may be given several times."""
    row: int = 0
    """Only the row of this number, from 1; 0 runs all that are missing."""
    report_only: bool = False
    """Only write the tables of what is there."""
    plan_is_over: bool = False
    """With --report-only, as the last of the Slurm jobs says it: nothing of the plan runs any more, so its run in
    MLflow ends too."""
    slurm: bool = False
    """Submit what is missing as an array of Slurm jobs, and a last job that writes the tables."""
    jobs_at_once: int = 8
    """With --slurm: so many rows run at the same time."""
    sbatch: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With --slurm: more options for the jobs, such as "--partition=gpu --gres=gpu:1"; may be given several times."""

    @property
    def roots(self) -> dict[str, Path]:
        """The folders of benchmarks by label."""
        return {label: Path(folder) for label, folder in (word.split("=", 1) for word in self.root)}


def parse(words: list[str]) -> Options:
    """Understands a command line: PLAN --out DIR [options].

    Raises:
        UserError: options that don't go together, or a --root that is no LABEL=DIR.
        SystemExit: `--help`, or an option that tyro doesn't know or can't parse (it suggests the nearest).
    """
    words, lines = list(words), []
    # Its value begins with dashes, which tyro takes for another option.
    while (line := take_option(words, "--sbatch")) is not None:
        lines.append(line)
    options = replace(tyro.cli(Options, args=words, prog="launch/compare.py"), sbatch=tuple(lines))
    for word in options.root:
        if not all(word.partition("=")):
            raise UserError(f"root must be LABEL=DIR, a benchmark of the plan and its folder, got {word}")
    chosen = [
        name
        for name, given in (("--row", options.row), ("--report-only", options.report_only), ("--slurm", options.slurm))
        if given
    ]
    if len(chosen) > 1:
        raise UserError(f"give one of --row, --report-only and --slurm, got {' and '.join(chosen)}")
    if options.plan_is_over and not options.report_only:
        raise UserError("plan_is_over goes with --report-only, got it alone; leave it out")
    if options.jobs_at_once < 1:
        raise UserError(f"jobs_at_once must be >= 1, got {options.jobs_at_once}")
    if any("\n" in line for line in options.sbatch):
        raise UserError("sbatch must be one line; give --sbatch several times")
    return options
