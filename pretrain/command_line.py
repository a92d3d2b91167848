"""The command line of a pre-training run: words after `pretrain/run.py` → settings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from pretrain.methods import METHODS
from pretrain.model_files import require_weights
from pretrain.presets import PRESETS
from pretrain.settings.files import load_settings, read_record, refuse_changes_on_resume, settings_of
from pretrain.settings.options import (
    full_words,
    names_given,
    setting_options,
    take_bare_words,
    take_option,
    with_options,
)
from pretrain.settings.pretraining import CHANGEABLE_ON_RESUME, DEMO_SHARDS, Config
from pretrain.settings.rules import check_rules
from pretrain.training.run_folder import SUMMARY_NAME, read_summary
from shards.command_line.dry_runs import check_can_be_written
from shards.command_line.option_lists import Option
from shards.command_line.verbs import DRY_RUN, take_flag
from shards.errors import UserError
from shards.registry import choose
from shards.streaming.locations import is_url

VERBS = ("train",)
DEFAULT_PRESET = "demo"
SCRIPT = "python pretrain/run.py"
PRINT_CONFIG = "--print-config"

DESCRIPTION = """Pre-trains an image tower and a sound tower on a shard set.

  {command} [PRESET] [--shards SHARDS] [--out RUN] [--any.other-setting value]
  {command} --config FILE.yaml --out RUN
  {command} --resume RUN
  {command} [PRESET] --print-config      (all settings as YAML, for --config)
  {command} show RUN                    (state, settings in brief, loss and ranks by epoch)
  {command} release RUN --out DIR        (a folder that others load in two lines, checked)
  {command} convert FILE --out DIR       (a checkpoint of SoundingEarth's authors -> DIR/model/)

Several processes: accelerate launch pretrain/run.py, with the same words. Presets: {presets}. The default is demo,
which builds its demo world if it is missing. --help shows the settings of the preset, method and loss given with it. A
batch larger than the training split is fitted to it unless --batch-size or a --config file gives its size."""

OTHER_OPTIONS = (
    *(Option((name,)) for name in ("--resume", "--config")),
    *(Option((name,), 0) for name in (DRY_RUN, PRINT_CONFIG)),
)


@dataclass(frozen=True)
class Request:
    """Result of parsing.

    Attributes:
        config: the settings.
        resume: whether to resume the run in `config.out`.
        fits_batch: whether the batch size is the preset's, to be fitted to a smaller training split.
        dry_run: whether to print the plan alone.
        limit_reached: the option that ended the run to resume, such as "--epochs", if no setting was changed; "" if
            there is something left to train.
    """

    config: Config
    resume: bool
    fits_batch: bool = False
    dry_run: bool = False
    limit_reached: str = ""


def options() -> list[Option]:
    """The options of a run, whatever its method and loss."""
    return setting_options([METHODS[name] for name in METHODS])


def completions() -> list[Option]:
    """The options to offer in a shell."""
    return [*options(), *OTHER_OPTIONS]


def parse(words: list[str], command: str = SCRIPT, *, checks_inputs: bool = True) -> Request:
    """Parses a command line: [train] [PRESET | --config FILE | --resume RUN] [settings], in any order.

    Args:
        words: the command line after the command.
        command: what was typed for it, for `--help`.
        checks_inputs: whether shards and weights must exist, and the run folder must not.

    Raises:
        UserError: an unknown preset, encoder, loss or method, an invalid setting or one without effect, missing shards
            or initial weights, or a run folder that already exists or is missing.
        SystemExit: `--help`, an unknown setting (tyro suggests the nearest), or a value that can't be parsed.
    """
    known = options()
    words = full_words(words, [*known, *OTHER_OPTIONS])
    if words and words[0] in VERBS:
        words.pop(0)
    dry = take_flag(words, DRY_RUN)
    bare = take_bare_words(words, [*known, *OTHER_OPTIONS])
    resume = take_option(words, "--resume")
    config_file = take_option(words, "--config")
    if len(bare) > 1:
        raise UserError(f"give one PRESET, got {' and '.join(bare)}; values of settings follow their --name")
    if sum(given is not None for given in (*bare, resume, config_file)) > 1:
        raise UserError("give one of PRESET, --config FILE and --resume RUN, not several: each defines all settings")

    help_as = command.removesuffix(f" {VERBS[0]}"), known
    if resume is not None:
        saved, wanted = _resumed_configs(Path(resume), words, *help_as)
        reached = _limit_reached(saved) if wanted == saved else ""
        return Request(wanted, resume=True, dry_run=dry, limit_reached=reached)
    batch_is_given = "batch_size" in names_given(words)
    if config_file is not None:
        record = read_record(Path(config_file))
        batch_is_given |= "batch_size" in record
        default = settings_of(Config, record, Path(config_file))
    else:
        default = PRESETS[choose((bare or [DEFAULT_PRESET])[0], PRESETS, "preset")]
    config = _with_options(default, words, *help_as)
    check_rules(config)
    if checks_inputs:
        if (config.out / "config.yaml").exists():
            raise UserError(
                f"out {config.out} already contains a run; resume it with --resume {config.out}, or name another --out"
            )
        _check_inputs(config)
        if dry:
            check_can_be_written(config.out)
    return Request(config, resume=False, fits_batch=not batch_is_given, dry_run=dry)


def _check_inputs(config: Config) -> None:
    """Checks that shards and initial weights exist, before torch is imported."""
    if not is_url(config.shards) and config.shards != DEMO_SHARDS:
        from shards.manifest import check_shard_folder

        check_shard_folder(Path(config.shards))
    for name in ("image_init", "sound_init"):
        require_weights(getattr(config.model, name), f"model.{name}")


def _resumed_configs(run_folder: Path, words: list[str], command: str, known: list[Option]) -> tuple[Config, Config]:
    """The settings of a run, and those with which it is to be resumed."""
    if not (run_folder / "config.yaml").is_file():
        raise UserError(f"nothing to resume at {run_folder}: it has no config.yaml; give the --out folder of a run")
    saved = dataclasses.replace(load_settings(Config, run_folder / "config.yaml"), out=run_folder)
    wanted = _with_options(saved, words, command, known)
    refuse_changes_on_resume(saved, wanted, CHANGEABLE_ON_RESUME)
    check_rules(wanted)
    return saved, wanted


def _limit_reached(config: Config) -> str:
    """The option whose limit a finished run has reached; "" for a run that is not finished."""
    if not (config.out / SUMMARY_NAME).is_file():
        return ""
    summary = read_summary(config.out, "remove it, and resume the run")
    if summary.get("epochs", 0) >= config.epochs:
        return "--epochs"
    return "--max-seconds" if 0 < config.max_seconds <= summary.get("training_seconds", 0) else ""


def _with_options(default: Config, words: list[str], command: str, known: list[Option]) -> Config:
    description = DESCRIPTION.format(command=command, presets=", ".join(PRESETS))
    return with_options(default, words, prog=command, description=description, known=known)
