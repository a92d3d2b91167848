"""Words after `downstream/run.py` → which benchmark, under which settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from downstream.benchmarks import BENCHMARKS
from downstream.protocols import PROTOCOLS, defaults_of
from downstream.settings import CHANGEABLE_ON_RESUME, DownstreamSettings, check_settings
from pretrain.settings.files import load_settings, refuse_changes_on_resume
from pretrain.settings.options import take_option
from pretrain.settings.presets import choose
from pretrain.training.loop import CONFIG_NAME
from shards.errors import UserError

DESCRIPTION = """Fine-tunes or probes trained weights on a benchmark.

  accelerate launch downstream/run.py BENCHMARK --root DIR --weights RUN|FILE|random|imagenet --out DIR
  accelerate launch downstream/run.py --resume DIR
  python downstream/run.py report OUT... --out DIR

Benchmarks: {benchmarks}."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for: the settings, and whether to go on with a run that stands already."""

    settings: DownstreamSettings
    resume: bool


def parse(words: list[str]) -> Request:
    """Understands a command line: BENCHMARK [settings] or --resume DIR [settings].

    Raises:
        UserError: an unknown benchmark or protocol, a setting against its rule, or a folder that is taken or missing.
        SystemExit: `--help`, or a setting that tyro doesn't know or can't parse (it suggests the nearest).
    """
    words = list(words)
    resume = take_option(words, "--resume")
    if resume is not None:
        if words and not words[0].startswith("-"):
            raise UserError(f"give a benchmark or --resume, not both, got {words[0]} and --resume {resume}")
        return Request(_resumed(Path(resume), words), resume=True)
    if not words or words[0].startswith("-"):
        # `--help`, or no benchmark: both are answered by what there is.
        if any(word in ("-h", "--help") for word in words):
            _with_options(PROTOCOLS["paper"], words)
        raise UserError(f"name a benchmark first; choose one of: {', '.join(sorted(BENCHMARKS))}")
    benchmark = choose(words.pop(0), BENCHMARKS, "benchmark")
    protocol = take_option(words, "--protocol") or "paper"
    default = defaults_of(benchmark, choose(protocol, PROTOCOLS, "protocol"))
    settings = _with_options(dataclasses.replace(default, benchmark=benchmark), words)
    if settings.benchmark != benchmark:
        raise UserError(f"the benchmark is the first word, {benchmark}; leave out --benchmark {settings.benchmark}")
    if not any(word.split("=")[0] == "--root" for word in words):
        raise UserError(f"root must be given: --root DIR, the folder that holds the data of {benchmark}")
    check_settings(settings)
    for name in (CONFIG_NAME, "results.json"):
        if (settings.out / name).exists():
            raise UserError(
                f"out {settings.out} holds a run already; go on with it by --resume {settings.out}, or name "
                "another --out"
            )
    return Request(settings, resume=False)


def _resumed(folder: Path, words: list[str]) -> DownstreamSettings:
    path = folder / CONFIG_NAME
    if not path.is_file():
        raise UserError(f"nothing to resume at {folder}: it has no {CONFIG_NAME}; give the --out folder of a run")
    saved = dataclasses.replace(load_settings(DownstreamSettings, path), out=folder)
    wanted = _with_options(saved, words)
    refuse_changes_on_resume(saved, wanted, CHANGEABLE_ON_RESUME)
    check_settings(wanted)
    return wanted


def _with_options(default: DownstreamSettings, words: list[str]) -> DownstreamSettings:
    return tyro.cli(
        DownstreamSettings,
        args=words,
        default=default,
        prog="downstream/run.py BENCHMARK",
        description=DESCRIPTION.format(benchmarks=", ".join(sorted(BENCHMARKS))),
    )
