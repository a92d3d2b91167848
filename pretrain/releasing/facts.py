"""What is known about released weights: settings, scores, data, licences and hardware, and what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrain.losses import LOSSES
from pretrain.methods import METHODS
from pretrain.model import TwoTower
from pretrain.model_config import TwoTowerConfig
from pretrain.model_files import CARD_NAME, NOTICE_NAME, find_model_folder
from pretrain.releasing.energy import Energy, estimate_energy
from pretrain.releasing.generated_world import words_on_generated_world
from pretrain.releasing.half_precision import HalfPrecision
from pretrain.releasing.model_card import KNOWN_INITS
from pretrain.releasing.results import ShownResults
from pretrain.releasing.training_data import Licences, count_licences, open_if_at_hand, outline
from pretrain.settings.files import read_record, settings_of
from pretrain.settings.pretraining import Config
from pretrain.training.curves_picture import curves_png
from pretrain.training.metrics_file import MetricsFile
from pretrain.training.run_folder import CONFIG_NAME, SUMMARY_NAME, read_summary
from pretrain.weights.model_folder import MODEL_FOLDER
from shards.errors import UserError, first_line
from shards.schema import VALIDATION_SPLIT
from shards.streaming.reading import ShardSet
from shards.untrusted_text import as_line
from shards.yaml_text import yaml_of

UNCOUNTED = "the licences of the recordings"
MOST_UNKNOWN_HOURS = 1 / 3600
FRONT_MATTER = re.compile(r"---\n(.*?\n)---(?:\n|$)", flags=re.DOTALL)


@dataclass(frozen=True)
class Gap:
    """Information that is missing from a card.

    Attributes:
        words: what is missing, as the public card says it.
        detail: paths and advice, shown only on the screen of the person who publishes the release.
    """

    words: str
    detail: str = ""


@dataclass
class Facts:
    """What a card reports.

    Attributes:
        model_folder: where the weights are.
        towers: the towers with the weights, in evaluation mode, on the CPU.
        config: the run's settings; None for a model folder, about which only its card is known.
        summary: the run's `summary.json`.
        uses: devices, processes and hours for each kind of hardware the run was computed on; `RunState.uses`.
        validation: scores of these weights on the validation split, as in `metrics.jsonl`.
        is_chosen: whether the weights were chosen among several by those scores.
        data: source, pairs and seconds of sound, as returned by `pretrain.releasing.training_data.outline`.
        licences: licences of the training recordings.
        shard_set: the shard set trained on, if it is available.
        energy: estimate of the energy used.
        curves: picture of the run's curves, as PNG; None if there is none.
        former_card: a model folder's own card, without the hub's metadata.
        former_licence: the licence in that metadata, as the hub names it.
        former_notice: the notice of a model folder that is a release.
        results: results of retrieval and downstream tasks.
        gaps: information missing from the card.
        half: what half precision costs, if the towers are rounded to it.
    """

    model_folder: Path
    towers: TwoTower
    config: Config | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    uses: list[tuple[dict[str, int], int, float]] = field(default_factory=list)
    validation: dict[str, Any] = field(default_factory=dict)
    is_chosen: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    licences: Licences | None = None
    shard_set: ShardSet | None = None
    energy: Energy | None = None
    curves: bytes | None = None
    former_card: str = ""
    former_licence: dict[str, str] = field(default_factory=dict)
    former_notice: str = ""
    results: ShownResults = field(default_factory=ShownResults)
    gaps: list[Gap] = field(default_factory=list)
    half: HalfPrecision | None = None

    @property
    def is_half(self) -> bool:
        """Whether the release stores its weights in half precision."""
        return self.half is not None

    @property
    def model(self) -> TwoTowerConfig:
        """The towers' config."""
        return self.towers.config

    @property
    def hours(self) -> float:
        """Wall-clock hours of the run."""
        return float(self.summary.get("seconds", 0.0)) / 3600

    @property
    def is_trained(self) -> bool:
        """Whether the weights were trained for at least one step, rather than being the initial ones."""
        return self.summary.get("best_step") != 0

    @property
    def generated_world(self) -> str:
        """What cards say of weights that were trained on generated pairs alone, "" of others."""
        return words_on_generated_world(str(self.data.get("source", "")), self.config, is_trained=self.is_trained)

    def lacks(self, words: str, detail: str = "") -> None:
        """Records information that is missing from the card."""
        self.gaps.append(Gap(words, detail))


def gather_facts(run: Path, *, shards: Path | None = None, watts: float | None = None) -> Facts:
    """Reads a finished run folder, or a model folder, and counts the licences of its training data.

    Args:
        run: the run folder or model folder.
        shards: current location of its shard set; None: where it was during training.
        watts: power of one device, for the estimate of energy.

    Raises:
        UserError: the folder has no model, the run has not finished, its settings are unreadable, or `shards` holds
            another shard set.
    """
    model_folder = find_model_folder(run)
    is_run = model_folder == run / MODEL_FOLDER and (run / CONFIG_NAME).is_file()
    if is_run and not (run / SUMMARY_NAME).is_file():
        raise UserError(
            f"the run in {run} has not finished, it has no {SUMMARY_NAME}; finish it with --resume {run}, or release "
            f"{model_folder}, whose card will have less information"
        )
    facts = Facts(model_folder, TwoTower.from_pretrained(model_folder))
    if is_run:
        _read_run(facts, run, watts)
    else:
        _read_former(facts)
        facts.lacks(
            "data, recipe, hardware, hours and energy, beyond what the weights' own card says",
            f"{run} is a model folder, not a run",
        )
    _look_at_shards(facts, shards)
    return facts


def _settings_of(path: Path) -> Config:
    """Reads a run's settings; the folder may come from a third party, so outside code that it names must be allowed."""
    record = read_record(path)
    loss = record.get("loss")
    for registry, name in (
        (METHODS, record.get("method")),
        (LOSSES, loss.get("name") if isinstance(loss, dict) else None),
    ):
        if isinstance(name, str):
            registry.check_allowed(name, str(path))
    return settings_of(Config, record, path)


def _read_run(facts: Facts, run: Path, watts: float | None) -> None:
    facts.config = _settings_of(run / CONFIG_NAME)
    facts.summary = read_summary(run, "restore it")
    if "best_step" not in facts.summary:
        raise UserError(f"{run / SUMMARY_NAME}: best_step is missing; restore it")
    best_step = facts.summary["best_step"]
    facts.uses = [(use["hardware"], use["processes"], use["seconds"] / 3600) for use in facts.summary.get("uses", [])]
    lines = MetricsFile(run).read()
    validations = [line for line in lines if line.get("split") == VALIDATION_SPLIT]
    facts.validation = next((line for line in reversed(validations) if line.get("step") == best_step), {})
    _draw_curves(facts, lines, best_step)
    facts.is_chosen = facts.summary.get("best_error") is not None and len(validations) > 1
    if not facts.validation:
        facts.lacks(f"the scores of the weights, which are from step {best_step}", "they are not in metrics.jsonl")
    for modality, init in (("image", facts.config.model.image_init), ("sound", facts.config.model.sound_init)):
        if init not in KNOWN_INITS:
            facts.lacks(f"who made the weights that the {modality} encoder started from", init)
    facts.data = facts.summary.get("data", {})
    facts.energy = _energy(facts, watts)
    if facts.energy.kilowatt_hours is None:
        facts.lacks(f"energy, {facts.energy.assumption}", facts.energy.advice)


def _draw_curves(facts: Facts, lines: Sequence[Mapping[str, Any]], best_step: int | None) -> None:
    try:
        facts.curves = curves_png(lines, best_step)
    except Exception as error:
        facts.lacks("the curves of training, which can't be drawn", first_line(error))


def _energy(facts: Facts, watts: float | None) -> Energy:
    unknown = facts.hours - sum(hours for _, _, hours in facts.uses)
    if unknown > MOST_UNKNOWN_HOURS:
        facts.lacks(f"the hardware used for {unknown:.2g} of the run's {facts.hours:.2g} hours")
        return Energy(None, "not estimated: the hardware used for some of the hours is not known")
    return estimate_energy([(devices, hours) for devices, _, hours in facts.uses], watts)


def _look_at_shards(facts: Facts, shards: Path | None) -> None:
    location = shards if shards is not None else facts.config.shards if facts.config else None
    if location is None:
        facts.lacks(UNCOUNTED, "they can't be counted without the shard set; give it with --shards")
        return
    try:
        facts.shard_set = open_if_at_hand(str(location), facts.model)
        facts.data = outline(facts.shard_set.manifest)
        facts.licences = count_licences(facts.shard_set)
    except UserError as error:
        if shards is not None:
            raise
        facts.lacks(UNCOUNTED, str(error))


def _read_former(facts: Facts) -> None:
    """Reads what a model folder says about itself: its card, the licence in the card's metadata, and its notice."""
    card = _text(facts.model_folder / CARD_NAME)
    front = FRONT_MATTER.match(card)
    facts.former_card = card[front.end() if front else 0 :].strip()
    facts.former_notice = _text(facts.model_folder / NOTICE_NAME).strip()
    try:
        data = yaml_of(front[1], CARD_NAME) if front else {}
    except UserError:
        data = {}
        facts.lacks("the licence in the metadata of the weights' own card, which can't be read")
    data = data if isinstance(data, dict) else {}
    if isinstance(data.get("license"), str):
        names = ("license", "license_name", "license_link")
        facts.former_licence = {name: as_line(data[name]) for name in names if isinstance(data.get(name), str)}
    elif data.get("license"):
        facts.lacks("the licence in the metadata of the weights' own card, which is not a single name")


def _text(path: Path) -> str:
    """Reads a text file; "" if there is none or it can't be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
