"""The command line of downstream benchmarks."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from downstream.benchmarks import BENCHMARKS, defaults_of, kind_of, load_run_settings
from downstream.kinds import KINDS, refuse_settings_elsewhere
from downstream.results import RESULTS_NAME
from downstream.settings import CHANGEABLE_ON_RESUME, DownstreamSettings
from pretrain.model_files import require_weights
from pretrain.settings.files import refuse_changes_on_resume
from pretrain.settings.options import (
    full_words,
    names_given,
    setting_options,
    take_bare_words,
    take_option,
    with_options,
)
from pretrain.settings.rules import check_rules
from pretrain.training.run_folder import CONFIG_NAME
from shards.command_line.dry_runs import check_can_be_written
from shards.command_line.option_lists import Option
from shards.command_line.verbs import DRY_RUN, HELP, answer_version, take_flag
from shards.errors import UserError

SCRIPT = "python downstream/run.py"
DESCRIPTION = """Fine-tunes or probes trained weights on a benchmark.

  {command} BENCHMARK --root DIR --weights RUN|FILE|random|imagenet --out DIR
  {command} --resume DIR
  {report} OUT... --out DIR

Several processes: accelerate launch downstream/run.py, with the same words.
"""
OTHER_OPTIONS = (Option(("--resume",)), Option((DRY_RUN,), 0))


@dataclass(frozen=True)
class Request:
    """Result of parsing: the settings, whether to resume a run, and whether to print the plan alone."""

    settings: DownstreamSettings
    resume: bool
    dry_run: bool = False


def options() -> list[Option]:
    """The options of a run, whatever its benchmark."""
    return setting_options([KINDS[name].settings for name in KINDS])


def completions() -> list[Option]:
    """The options to offer in a shell."""
    return [*options(), *OTHER_OPTIONS]


def parse(words: Sequence[str], command: str = SCRIPT) -> Request:
    """Parses a command line: BENCHMARK [settings] or --resume DIR [settings], in any order.

    Args:
        words: the command line after the command.
        command: what was typed for it, for `--help`.

    Raises:
        UserError: an unknown benchmark or protocol, a setting against its rule, or a folder that is taken or missing.
        SystemExit: `--help`, an unknown setting (the nearest is suggested), or a value that can't be parsed.
    """
    answer_version(words)
    known = completions()
    words = full_words(list(words), known)
    dry = take_flag(words, DRY_RUN)
    bare = take_bare_words(words, known)
    if len(bare) > 1:
        raise UserError(f"give one benchmark, got {' and '.join(bare)}; values of settings follow their --name")
    resume = take_option(words, "--resume")
    if resume is None:
        settings = _begun(bare[0] if bare else None, words, command)
        if dry:
            check_can_be_written(settings.out)
        return Request(settings, resume=False, dry_run=dry)
    if bare:
        raise UserError(f"give a benchmark or --resume, not both, got {bare[0]} and --resume {resume}")
    return Request(_resumed(Path(resume), words, command), resume=True, dry_run=dry)


def _begun(name: str | None, words: list[str], command: str) -> DownstreamSettings:
    """The settings of a new run."""
    if name is None:
        if any(word in HELP for word in words):
            choices = f"Benchmarks: {BENCHMARKS.choices()}.\nBENCHMARK --help also shows the benchmark's own settings."
            _with_options(DownstreamSettings(), words, command, choices)
        raise UserError(f"give a benchmark first; choose one of: {BENCHMARKS.choices()}")
    benchmark = BENCHMARKS[name]
    default = defaults_of(name, take_option(words, "--protocol") or "paper")
    refuse_settings_elsewhere(benchmark.kind, name, names_given(words))
    protocols = "\n".join(f"  {protocol.name}: {protocol.description}" for protocol in benchmark.kind.protocols)
    settings = _with_options(default, words, command, f"Protocols of {name}:\n{protocols}")
    if settings.benchmark != name:
        raise UserError(f"the benchmark is the first word, {name}; omit --benchmark {settings.benchmark}")
    if "root" not in names_given(words):
        raise UserError(f"root must be given: --root DIR, the folder with the data of {name}")
    check_rules(settings)
    for option in benchmark.kind.protocol(settings.protocol, name).idle_settings(names_given(words)):
        print(
            f"warning: {option} has no effect on {name} with protocol {settings.protocol}, which trains no network",
            file=sys.stderr,
        )
    benchmark.check_root(settings.root)
    require_weights(settings.weights)
    for file in (CONFIG_NAME, RESULTS_NAME):
        if (settings.out / file).exists():
            raise UserError(
                f"out {settings.out} already contains a run; resume it with --resume {settings.out}, or give "
                "another --out"
            )
    return settings


def _resumed(folder: Path, words: list[str], command: str) -> DownstreamSettings:
    """The settings of a resumed run, with the changes allowed on resume."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise UserError(f"nothing to resume at {folder}: it has no {CONFIG_NAME}; give the --out folder of a run")
    saved = dataclasses.replace(load_run_settings(path), out=folder)
    refuse_settings_elsewhere(kind_of(saved.benchmark), saved.benchmark, names_given(words))
    wanted = _with_options(saved, words, command, f"The settings of the run in {folder}.")
    refuse_changes_on_resume(saved, wanted, CHANGEABLE_ON_RESUME)
    check_rules(wanted)
    return wanted


def _with_options(default: DownstreamSettings, words: Sequence[str], command: str, more: str) -> DownstreamSettings:
    report = "earshot report" if command.startswith("earshot") else f"{command} report"
    description = f"{DESCRIPTION.format(command=command, report=report)}\n{more}"
    known = setting_options([type(default)])
    return with_options(default, list(words), prog=f"{command} BENCHMARK", description=description, known=known)
