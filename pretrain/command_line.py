"""The command line of a pre-training run: words after `pretrain/run.py` → settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pretrain.model_files import require_weights
from pretrain.presets import PRESETS
from pretrain.settings.files import load_settings, refuse_changes_on_resume
from pretrain.settings.options import take_option, with_options
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, DEMO_SHARDS, Config
from pretrain.settings.rules import check_rules
from shards.errors import UserError
from shards.registry import choose
from shards.streaming.locations import is_url

VERBS = ("train",)
DEFAULT_PRESET = "demo"

DESCRIPTION = """Pre-trains an image tower and a sound tower on a shard set.

  accelerate launch pretrain/run.py [PRESET] [--shards SHARDS] [--out RUN] [--any.other-setting value]
  accelerate launch pretrain/run.py --config FILE.yaml --out RUN
  accelerate launch pretrain/run.py --resume RUN
  python pretrain/run.py release RUN --out DIR      (a folder that others load in two lines, checked)
  python pretrain/run.py convert FILE --out DIR     (a checkpoint of SoundingEarth's authors -> DIR/model/)

Presets: {presets}. The default is demo, which builds its demo world if it is missing. --help shows the settings of the
preset, method and loss given with it."""


@dataclass(frozen=True)
class Request:
    """Result of parsing: the settings, and whether to resume the run in `config.out`."""

    config: Config
    resume: bool


def parse(words: list[str]) -> Request:
    """Parses a command line: [train] [PRESET | --config FILE | --resume RUN] [settings].

    Raises:
        UserError: an unknown preset, encoder, loss or method, an invalid setting or one without effect, missing shards
            or initial weights, or a run folder that already exists or is missing.
        SystemExit: `--help`, an unknown setting (tyro suggests the nearest), or a value that can't be parsed.
    """
    words = list(words)
    if words and words[0] in VERBS:
        words.pop(0)
    preset = words.pop(0) if words and not words[0].startswith("-") else None
    resume = take_option(words, "--resume")
    config_file = take_option(words, "--config")
    if sum(given is not None for given in (preset, resume, config_file)) > 1:
        raise UserError("give one of PRESET, --config FILE and --resume RUN, not several: each defines all settings")

    if resume is not None:
        return Request(_resumed_config(Path(resume), words), resume=True)
    if config_file is not None:
        default = load_settings(Config, Path(config_file))
    else:
        default = PRESETS[choose(preset or DEFAULT_PRESET, PRESETS, "preset")]
    config = _with_options(default, words)
    check_rules(config)
    if (config.out / "config.yaml").exists():
        raise UserError(
            f"out {config.out} already contains a run; resume it with --resume {config.out}, or name another --out"
        )
    _check_inputs(config)
    return Request(config, resume=False)


def _check_inputs(config: Config) -> None:
    """Checks that shards and initial weights exist, before torch is imported."""
    if not is_url(config.shards) and config.shards != DEMO_SHARDS:
        from shards.manifest import check_shard_folder

        check_shard_folder(Path(config.shards))
    for name in ("image_init", "sound_init"):
        require_weights(getattr(config.model, name), f"model.{name}")


def _resumed_config(run_folder: Path, words: list[str]) -> Config:
    if not (run_folder / "config.yaml").is_file():
        raise UserError(f"nothing to resume at {run_folder}: it has no config.yaml; give the --out folder of a run")
    saved = dataclasses.replace(load_settings(Config, run_folder / "config.yaml"), out=run_folder)
    wanted = _with_options(saved, words)
    refuse_changes_on_resume(saved, wanted, CHANGEABLE_ON_RESUME)
    check_rules(wanted)
    return wanted


def _with_options(default: Config, words: list[str]) -> Config:
    description = DESCRIPTION.format(presets=", ".join(PRESETS))
    return with_options(default, words, prog="pretrain/run.py", description=description)
