"""The command line of `launch/compare.py`: plan, output folder, and mode (run, Slurm, or only tables)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from pretrain.settings.options import take_option
from shards.command_line.option_lists import Option, field_options
from shards.command_line.short_names import SHORT_NAMES, expand
from shards.command_line.verbs import answer_version, with_notes
from shards.errors import UserError


@dataclass(frozen=True)
class Options:
    """Runs the unfinished rows of a plan (methods × backbones × seeds × benchmarks) and writes its tables."""

    plan: tyro.conf.Positional[Path]
    """A YAML file, or one of Earshot's plans by name, such as demo."""
    out: Path
    """Folder for runs and tables; an interrupted plan resumes there."""
    shards: str | None = None
    """Shard set to use instead of the plan's."""
    root: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """LABEL=DIR: folder of a benchmark's data to use instead of the plan's; may be given several times."""
    row: int = 0
    """Run only the row with this number, from 1; 0 runs all unfinished rows."""
    report_only: bool = False
    """Only write the tables of the existing results."""
    plan_is_over: bool = False
    """With --report-only: no row of the plan is running, so its MLflow run is ended too. Set by the last Slurm job."""
    slurm: bool = False
    """Submit the unfinished rows as an array of Slurm jobs, and a last job that writes the tables."""
    jobs_at_once: int = 8
    """With --slurm: maximum number of rows that run at the same time."""
    sbatch: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With --slurm: further options of the jobs, such as "--partition=gpu --gres=gpu:1"; may be given several times."""
    dry_run: bool = False
    """Make all checks, print the steps of each row, or the job files of --slurm, and write nothing."""

    @property
    def roots(self) -> dict[str, Path]:
        """Benchmark folders by label."""
        return {label: Path(folder) for label, folder in (word.split("=", 1) for word in self.root)}


def completions() -> list[Option]:
    """The options to offer in a shell."""
    return field_options(Options)


def parse(words: list[str], command: str = "python launch/compare.py") -> Options:
    """Parses a command line: PLAN --out DIR [options].

    Args:
        words: the command line after the command.
        command: what was typed for it, for `--help`.

    Raises:
        UserError: options that exclude each other, or a --root that is not LABEL=DIR.
        SystemExit: `--help`, or an unknown option or one that can't be parsed (the nearest is suggested).
    """
    answer_version(words)
    lines = []
    known = [name for option in completions() for name in option.names]
    words = expand(words, SHORT_NAMES, known)
    # Its value starts with dashes, so tyro would take it for another option.
    while (line := take_option(words, "--sbatch")) is not None:
        lines.append(line)
    options = replace(
        tyro.cli(
            Options,
            args=words,
            prog=command,
            description=with_notes(str(Options.__doc__), SHORT_NAMES, known, has_dry_run=False),
        ),
        sbatch=tuple(lines),
    )
    for word in options.root:
        if not all(word.partition("=")):
            raise UserError(f"root must be LABEL=DIR, the label of a benchmark in the plan and its folder, got {word}")
    chosen = [
        name
        for name, given in (("--row", options.row), ("--report-only", options.report_only), ("--slurm", options.slurm))
        if given
    ]
    if len(chosen) > 1:
        raise UserError(f"give one of --row, --report-only and --slurm, got {' and '.join(chosen)}")
    if options.plan_is_over and not options.report_only:
        raise UserError("plan_is_over needs --report-only; omit it, or add --report-only")
    if options.jobs_at_once < 1:
        raise UserError(f"jobs_at_once must be >= 1, got {options.jobs_at_once}")
    if any("\n" in line for line in options.sbatch):
        raise UserError("sbatch must be one line; give --sbatch several times")
    return options
