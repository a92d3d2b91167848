"""Words after `pretrain/run.py` → what to do, under which settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from pretrain.encoders import ENCODERS
from pretrain.losses import LOSSES
from pretrain.methods import METHODS
from pretrain.releasing.options import ReleaseOptions
from pretrain.settings.files import load_settings, refuse_changes_on_resume
from pretrain.settings.options import take_option
from pretrain.settings.presets import PRESETS, choose
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, Config, check_config
from shards.errors import UserError

VERBS = ("train",)
DEFAULT_PRESET = "demo"

DESCRIPTION = """Pre-trains an image tower and a sound tower on a shard set.

  accelerate launch pretrain/run.py [PRESET] [--shards SHARDS] [--out RUN] [--any.other-setting value]
  accelerate launch pretrain/run.py --config FILE.yaml --out RUN
  accelerate launch pretrain/run.py --resume RUN
  python pretrain/run.py release RUN --out DIR      (a folder that others load in two lines, checked)
  python pretrain/run.py convert FILE --out DIR     (a checkpoint of SoundingEarth's authors -> DIR/model/)

Presets: {presets}. Without one, the preset demo is run, on a demo world that is made where it is missing."""


@dataclass(frozen=True)
class Request:
    """What the command line asks for: the settings, and whether to go on with a run that stands already."""

    config: Config
    resume: bool


@dataclass(frozen=True)
class Conversion:
    """Turns a checkpoint that SoundingEarth's authors released into a model folder of ours."""

    file: tyro.conf.Positional[Path]
    """The checkpoint, as torch.save wrote it; nothing but tensors is unpickled."""
    out: Path
    """The folder to write `model/` into."""
    on_sphere: bool | None = None
    """Whether it was trained with a contrastive loss, whose embeddings are compared at length 1; None: if it holds a
    learned temperature."""


def parse_conversion(words: list[str]) -> Conversion:
    """Understands what follows `convert`: FILE --out DIR [--on-sphere True].

    Raises:
        SystemExit: `--help`, or an option that tyro doesn't know or can't parse.
    """
    return tyro.cli(Conversion, args=words, prog="pretrain/run.py convert")


@dataclass(frozen=True)
class Release(ReleaseOptions):
    """As `ReleaseOptions`, whose first word needs no name."""

    run: tyro.conf.Positional[Path]


def parse_release(words: list[str]) -> ReleaseOptions:
    """Understands what follows `release`: RUN --out DIR [--push-to-hub NAME] [--results DIR…].

    Raises:
        SystemExit: `--help`, or an option that tyro doesn't know or can't parse.
    """
    return tyro.cli(Release, args=words, prog="pretrain/run.py release", description=ReleaseOptions.__doc__)


def parse(words: list[str]) -> Request:
    """Understands a command line: [train] [PRESET | --config FILE | --resume RUN] [settings].

    Raises:
        UserError: an unknown preset, encoder, loss or method, a setting against its rule, or a run folder that
            is taken or missing.
        SystemExit: `--help`, or a setting that tyro doesn't know or can't parse (it suggests the nearest).
    """
    words = list(words)
    if words and words[0] in VERBS:
        words.pop(0)
    preset = words.pop(0) if words and not words[0].startswith("-") else None
    resume = take_option(words, "--resume")
    config_file = take_option(words, "--config")
    if sum(given is not None for given in (preset, resume, config_file)) > 1:
        raise UserError("give one of PRESET, --config FILE and --resume RUN, not several: each names all settings")

    if resume is not None:
        return Request(_resumed_config(Path(resume), words), resume=True)
    if config_file is not None:
        default = load_settings(Config, Path(config_file))
    else:
        default = PRESETS[choose(preset or DEFAULT_PRESET, PRESETS, "preset")]
    config = _with_options(default, words)
    check_choices_and_rules(config)
    if (config.out / "config.yaml").exists():
        raise UserError(
            f"out {config.out} holds a run already; go on with it by --resume {config.out}, or name another --out"
        )
    return Request(config, resume=False)


def _resumed_config(run_folder: Path, words: list[str]) -> Config:
    if not (run_folder / "config.yaml").is_file():
        raise UserError(f"nothing to resume at {run_folder}: it has no config.yaml; give the --out folder of a run")
    saved = dataclasses.replace(load_settings(Config, run_folder / "config.yaml"), out=run_folder)
    wanted = _with_options(saved, words)
    refuse_changes_on_resume(saved, wanted, CHANGEABLE_ON_RESUME)
    check_choices_and_rules(wanted)
    return wanted


def check_choices_and_rules(config: Config) -> None:
    """Checks all that can be known of a run's settings before data is opened.

    Raises:
        UserError: an unknown encoder, loss or method (with the nearest name), or a setting against its rule.
    """
    check_config(config)
    choose(config.method, METHODS, "method")
    choose(config.loss.name, LOSSES, "loss.name")
    ENCODERS.check(config.model.image_encoder)
    ENCODERS.check(config.model.sound_encoder, setting="model.sound_encoder")


def _with_options(default: Config, words: list[str]) -> Config:
    return tyro.cli(
        Config,
        args=words,
        default=default,
        prog="pretrain/run.py",
        description=DESCRIPTION.format(presets=", ".join(PRESETS)),
    )
