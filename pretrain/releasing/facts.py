"""What is known of weights that are released: settings, scores, data, licences, hardware, and what is not known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrain.config import Config
from pretrain.loop import CONFIG_NAME, SUMMARY_NAME
from pretrain.metrics_file import MetricsFile
from pretrain.model import TwoTower, TwoTowerConfig, find_model_folder
from pretrain.model_folder import CARD_NAME, MODEL_FOLDER
from pretrain.releasing.energy import Energy, estimate_energy
from pretrain.releasing.results import ShownResults
from pretrain.settings_file import load_settings
from pretrain.training_data import Licences, count_licences, open_if_at_hand, outline
from pretrain.validation import VALIDATION_SPLIT
from shards.errors import UserError
from shards.reading import ShardSet


@dataclass
class Facts:
    """What a card can tell.

    Attributes:
        model_folder: where the weights are.
        towers: the weights, in evaluation mode, on the CPU.
        config: the run's settings; None for a model folder, of which nothing more is known than its card says.
        summary: the run's `summary.json`.
        validation: scores of these weights on the validation split, as `metrics.jsonl` has them.
        data: source, pairs and seconds of sound, as `pretrain.training_data.outline` gives them.
        licences: of the training recordings.
        shard_set: where it is at hand.
        energy: about how much was taken.
        former_card: of a model folder, without the hub's metadata.
        results: of retrieval and downstream tasks.
        gaps: a sentence for each thing that the card can't tell.
    """

    model_folder: Path
    towers: TwoTower
    config: Config | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    licences: Licences | None = None
    shard_set: ShardSet | None = None
    energy: Energy | None = None
    former_card: str = ""
    results: ShownResults = field(default_factory=ShownResults)
    gaps: list[str] = field(default_factory=list)

    @property
    def model(self) -> TwoTowerConfig:
        """The towers' config."""
        return self.towers.config

    @property
    def hours(self) -> float:
        """Of the run by the clock."""
        return float(self.summary.get("seconds", 0.0)) / 3600


def gather_facts(run: Path, *, shards: Path | None = None, watts: float | None = None) -> Facts:
    """Reads a finished run folder, or a model folder, and counts the licences of what it learned from.

    Args:
        run: the folder.
        shards: where its shard set is now; None: where it was.
        watts: power of one device, for the estimate of energy.

    Raises:
        UserError: no model there, a run that has not finished, unreadable settings, or another shard set in `shards`.
    """
    model_folder = find_model_folder(run)
    is_run = model_folder == run / MODEL_FOLDER and (run / CONFIG_NAME).is_file()
    if is_run and not (run / SUMMARY_NAME).is_file():
        raise UserError(
            f"the run in {run} has not finished, it has no {SUMMARY_NAME}; finish it with --resume {run}, or release "
            f"{model_folder}, of which the card can tell less"
        )
    facts = Facts(model_folder, TwoTower.from_pretrained(model_folder))
    if is_run:
        _read_run(facts, run, watts)
    else:
        facts.former_card = _former_card(model_folder)
        facts.gaps.append(
            f"{run} is a model folder, not a run: data, recipe, hardware, hours and energy are not known beyond what "
            "its own card says"
        )
    _look_at_shards(facts, shards)
    return facts


def _read_run(facts: Facts, run: Path, watts: float | None) -> None:
    facts.config = load_settings(Config, run / CONFIG_NAME)
    try:
        facts.summary = json.loads((run / SUMMARY_NAME).read_text(encoding="utf-8"))
        best_step = facts.summary["best_step"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{run / SUMMARY_NAME} can't be read as a run's summary ({error!r}); restore it") from error
    for line in MetricsFile(run).read():
        if line.get("split") == VALIDATION_SPLIT and line.get("step") == best_step:
            facts.validation = line
    if not facts.validation:
        facts.gaps.append(f"the scores of step {best_step}, which the model is of, are not in metrics.jsonl")
    facts.data = facts.summary.get("data", {})
    hardware = facts.summary.get("hardware", {})
    if not hardware:
        facts.gaps.append("the run did not record the name of its hardware")
    facts.energy = estimate_energy(hardware, facts.hours, watts)
    if facts.energy.kilowatt_hours is None:
        facts.gaps.append(f"energy {facts.energy.assumption}")


def _look_at_shards(facts: Facts, shards: Path | None) -> None:
    location = shards if shards is not None else facts.config.shards if facts.config else None
    if location is None:
        facts.gaps.append("the licences of the recordings can't be counted without the shard set; give it by --shards")
        return
    try:
        facts.shard_set = open_if_at_hand(str(location), facts.model)
        facts.data = outline(facts.shard_set.manifest)
        facts.licences = count_licences(facts.shard_set)
    except UserError as error:
        if shards is not None:
            raise
        facts.gaps.append(f"the licences of the recordings can't be counted: {error}")


def _former_card(model_folder: Path) -> str:
    """The text of a model folder's card, its headings two levels down, "" where it has none."""
    try:
        text = (model_folder / CARD_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    is_code, lines = False, []
    for line in text.strip().splitlines():
        is_code ^= line.startswith("```")
        lines.append(f"##{line}" if line.startswith("#") and not is_code else line)
    return "\n".join(lines)
