"""The command line of downstream benchmarks."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from downstream.benchmarks import BENCHMARKS, defaults_of, kind_of, load_run_settings
from downstream.kinds import refuse_settings_elsewhere
from downstream.results import RESULTS_NAME
from downstream.settings import CHANGEABLE_ON_RESUME, DownstreamSettings
from pretrain.model_files import require_weights
from pretrain.settings.files import refuse_changes_on_resume
from pretrain.settings.options import take_option, with_options
from pretrain.settings.rules import check_rules
from pretrain.training.run_folder import CONFIG_NAME
from shards.command_line import HELP
from shards.errors import UserError

DESCRIPTION = """Fine-tunes or probes trained weights on a benchmark.

  accelerate launch downstream/run.py BENCHMARK --root DIR --weights RUN|FILE|random|imagenet --out DIR
  accelerate launch downstream/run.py --resume DIR
  python downstream/run.py report OUT... --out DIR
"""


@dataclass(frozen=True)
class Request:
    """Result of parsing: the settings, and whether to resume a run."""

    settings: DownstreamSettings
    resume: bool


def parse(words: Sequence[str]) -> Request:
    """Parses a command line: BENCHMARK [settings] or --resume DIR [settings].

    Raises:
        UserError: an unknown benchmark or protocol, a setting against its rule, or a folder that is taken or missing.
        SystemExit: `--help`, an unknown setting (the nearest is suggested), or a value that can't be parsed.
    """
    words = list(words)
    resume = take_option(words, "--resume")
    if resume is None:
        return Request(_begun(words), resume=False)
    if words and not words[0].startswith("-"):
        raise UserError(f"give a benchmark or --resume, not both, got {words[0]} and --resume {resume}")
    return Request(_resumed(Path(resume), words), resume=True)


def _begun(words: list[str]) -> DownstreamSettings:
    """The settings of a new run."""
    if not words or words[0].startswith("-"):
        if any(word in HELP for word in words):
            choices = f"Benchmarks: {BENCHMARKS.choices()}.\nBENCHMARK --help also shows the benchmark's own settings."
            _with_options(DownstreamSettings(), words, choices)
        raise UserError(f"give a benchmark first; choose one of: {BENCHMARKS.choices()}")
    name = words.pop(0)
    benchmark = BENCHMARKS[name]
    default = defaults_of(name, take_option(words, "--protocol") or "paper")
    refuse_settings_elsewhere(benchmark.kind, name, _names(words))
    protocols = "\n".join(f"  {protocol.name}: {protocol.description}" for protocol in benchmark.kind.protocols)
    settings = _with_options(default, words, f"Protocols of {name}:\n{protocols}")
    if settings.benchmark != name:
        raise UserError(f"the benchmark is the first word, {name}; omit --benchmark {settings.benchmark}")
    if "root" not in _names(words):
        raise UserError(f"root must be given: --root DIR, the folder with the data of {name}")
    check_rules(settings)
    for option in benchmark.kind.protocol(settings.protocol, name).idle_settings(_names(words)):
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


def _resumed(folder: Path, words: list[str]) -> DownstreamSettings:
    """The settings of a resumed run, with the changes allowed on resume."""
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise UserError(f"nothing to resume at {folder}: it has no {CONFIG_NAME}; give the --out folder of a run")
    saved = dataclasses.replace(load_run_settings(path), out=folder)
    refuse_settings_elsewhere(kind_of(saved.benchmark), saved.benchmark, _names(words))
    wanted = _with_options(saved, words, f"The settings of the run in {folder}.")
    refuse_changes_on_resume(saved, wanted, CHANGEABLE_ON_RESUME)
    check_rules(wanted)
    return wanted


def _names(words: Sequence[str]) -> list[str]:
    """The dotted names of the settings given as options, such as "transfer.loss"."""
    options = (word.removeprefix("--").partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return [name for option in options for name in (option, _positive(option))]


def _positive(option: str) -> str:
    """`transfer.no_with_scene_loss` sets `transfer.with_scene_loss`."""
    group, dot, name = option.rpartition(".")
    return f"{group}{dot}{name.removeprefix('no_')}"


def _with_options(default: DownstreamSettings, words: Sequence[str], more: str) -> DownstreamSettings:
    description = f"{DESCRIPTION}\n{more}"
    return with_options(default, list(words), prog="downstream/run.py BENCHMARK", description=description)
