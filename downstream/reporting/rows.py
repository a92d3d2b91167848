"""Results of runs → rows of a table: same settings and different seeds become one row, with mean and deviation."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from downstream.reporting.published import Published
from downstream.reporting.published_tau import ABLATION, FEATURES, FUSIONS
from downstream.results import RESULTS_NAME, Results
from shards.errors import UserError

PUBLISHED, MEASURED = "published", "measured"

BACKBONES = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "resnet101": "ResNet-101"}
BACKBONES |= {"efficientnet-v2-s": "EfficientNetV2-S"}
WEIGHTS = {"random": "Random", "imagenet": "ImageNet"}
MODALITY_OF_INPUT = {"sound": "sound", "image": "image", "mean": "both", "concatenation": "both"}
"""What the inputs of a benchmark of pairs take in."""

LANDCOVER_SCORES = ("overall_accuracy", "mean_iou")
AUDIOVISUAL_SCORES = ("precision", "recall", "f1")
TAU_SCORES = ("log_loss", "accuracy")
SOUND_EVENT_SCORES = ("mean_average_precision", "accuracy")

TRANSFER_DETAILS = (
    *("approach", "modality", "sound_weights", "teacher", "sound_stride"),
    *("alpha", "beta", "over_events", "num_frames"),
)
"""What tells runs of advance-transfer apart."""

TAU_DETAILS = ("strategy", "features", "train_frames")
"""What tells runs of tau-scenes apart."""

IN_NATS = frozenset({"log_loss"})
"""Scores that are no shares."""


@dataclass(frozen=True)
class Figure:
    """A score in percent, or in nats.

    Attributes:
        mean: over the runs.
        sd: sample standard deviation over them; None for a single one.
        in_nats: whether it is a loss, no share.
    """

    mean: float
    sd: float | None = None
    in_nats: bool = False

    @property
    def digits(self) -> int:
        """Behind the point."""
        return 4 if self.in_nats else 2

    def __str__(self) -> str:
        mean = f"{self.mean:.{self.digits}f}"
        return mean if self.sd is None else f"{mean} ± {self.sd:.{self.digits}f}"


@dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        benchmark: its name.
        origin: "published" or "measured".
        weights: as shown.
        weights_in_full: as given on the command line.
        backbone: as shown.
        figures: by column.
        protocol: its name; empty for published rows.
        train_fraction: share of the items that trained; None where not known.
        seeds: how many runs the figures are from and by which seeds, in words.
        conditions: what else tells rows apart, such as what the head sits on.
        source: of a published row.
        notes: what readers have to know.
        modality: "image", "sound", "both", or empty.
        joined: how image and sound were joined, or empty.
        approach: the losses, or the strategy, by their paper's names, where it compares them.
    """

    benchmark: str
    origin: str
    weights: str
    weights_in_full: str
    backbone: str
    figures: dict[str, Figure]
    protocol: str = ""
    train_fraction: float | None = None
    seeds: str = ""
    conditions: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    modality: str = ""
    joined: str = ""
    approach: str = ""

    @property
    def all_notes(self) -> tuple[str, ...]:
        """The conditions as one sentence, then the notes."""
        return (*(["; ".join(self.conditions)] if self.conditions else []), *self.notes)


@dataclass(frozen=True)
class Run:
    """The results in a folder."""

    folder: Path
    results: Results


def find_runs(folders: Iterable[Path]) -> list[Run]:
    """The results in folders, or in any folder below them, each once, in the order given.

    Raises:
        UserError: a folder has no results.
    """
    found: dict[Path, Run] = {}
    for folder in folders:
        if (folder / RESULTS_NAME).is_file():
            places = [folder]
        else:
            places = sorted(path.parent for path in folder.rglob(RESULTS_NAME)) if folder.is_dir() else []
        if not places:
            raise UserError(f"no results in {folder}: neither it nor a folder below it holds a {RESULTS_NAME}")
        for place in places:
            found.setdefault(place.resolve(), Run(place, Results.read(place)))
    return list(found.values())


def rows_of_runs(runs: Sequence[Run]) -> list[Row]:
    """One row for each settings, and where image and sound are told apart, for each input."""
    names = short_names({run.results.weights for run in runs})
    groups: dict[tuple[object, ...], list[Results]] = {}
    for run in runs:
        groups.setdefault(_settings_of(run.results), []).append(run.results)
    return [row for group in groups.values() for row in _rows_of_group(group, names)]


def drawn_seeds(results: Results) -> set[int]:
    """The seeds that a run went through from its own on; its own alone where its draws have seeds that are fixed."""
    drawn = {draw["seed"] for draw in results.details.get("seeds", ()) if "seed" in draw}
    return drawn if drawn and drawn == set(range(results.seed, results.seed + len(drawn))) else {results.seed}


def row_of_published(published: Published) -> Row:
    """A published row as it stands beside ours."""
    figures = {name: Figure(mean, published.sds.get(name), name in IN_NATS) for name, mean in published.scores.items()}
    return Row(
        benchmark=published.benchmark,
        origin=PUBLISHED,
        weights=published.weights,
        weights_in_full=published.weights,
        backbone=BACKBONES.get(published.backbone, published.backbone),
        figures=figures,
        train_fraction=published.train_fraction,
        conditions=(published.remark,) if published.remark else (),
        source=published.source,
        seeds="5 runs" if published.sds else "",
        modality=published.modality,
        approach=published.approach,
        joined=published.joined,
    )


def short_names(weights: Collection[str]) -> dict[str, str]:
    """Paths of weights → their last parts, as many as tell them apart; a trailing `model` folder is left out."""
    names = {given: WEIGHTS[given] for given in weights if given in WEIGHTS}
    parts = {
        given: tuple(part for part in PurePath(given).parts if part != "/") for given in weights if given not in WEIGHTS
    }
    parts = {given: path[:-1] if path[-1:] == ("model",) and len(path) > 1 else path for given, path in parts.items()}
    for given, path in parts.items():
        others = [other for name, other in parts.items() if name != given]
        length = next((n for n in range(1, len(path)) if all(path[-n:] != other[-n:] for other in others)), len(path))
        names[given] = "/".join(path[-length:]) or given
    return names


def _settings_of(results: Results) -> tuple[object, ...]:
    """All that two results must share to be runs of one thing: everything but seed, scores and time."""
    details = results.details
    return (
        *(results.benchmark, results.weights, results.backbone, results.protocol, results.head_on, results.split),
        *(results.weights_sha256, json.dumps(details.get("training"), sort_keys=True)),
        *(results.num_train, results.num_test, tuple(results.notes), results.epochs[-1].get("epoch")),
        *(details.get(name) for name in (*TRANSFER_DETAILS, *TAU_DETAILS)),
        *(details.get(name) for name in ("image_size", "patch_stride", "batch_size", "num_seeds", "num_val")),
    )


def _rows_of_group(group: Sequence[Results], names: dict[str, str]) -> list[Row]:
    first = group[0]
    common: dict[str, Any] = {
        "benchmark": first.benchmark,
        "origin": MEASURED,
        "weights": names[first.weights],
        "weights_in_full": first.weights,
        "backbone": BACKBONES.get(first.backbone, first.backbone),
        "protocol": first.protocol,
        "train_fraction": first.train_fraction,
        "seeds": _seeds(group),
        "conditions": _conditions(first),
        "notes": tuple(first.notes),
    }
    if all(isinstance(first.epochs[-1].get(name), dict) for name in MODALITY_OF_INPUT):
        return [
            Row(
                **common, figures=_last(group, AUDIOVISUAL_SCORES, within=name), modality=modality, joined=_joined(name)
            )
            for name, modality in MODALITY_OF_INPUT.items()
        ]
    if "approach" in first.details:
        said = {name: first.details[name] for name in ("approach", "modality")}
        return [Row(**common, **said, figures=_last(group, AUDIOVISUAL_SCORES))]
    if TAU_SCORES[0] in first.epochs[-1]:
        return [Row(**common, **said, figures=_last(group, TAU_SCORES)) for said in _said_of_strategy(first)]
    for scores in (LANDCOVER_SCORES, SOUND_EVENT_SCORES):
        if scores[0] in first.epochs[-1]:
            return [Row(**common, figures=_last(group, scores))]
    if first.protocol == "paper":
        return [Row(**common, figures=_by_epoch(group))]
    return [Row(**common, figures=_last(group, ("accuracy",)))]


def _said_of_strategy(results: Results) -> list[dict[str, Any]]:
    """What the rows of one strategy on TAU say of it: one of Table 2, or one of Table 3 and one of Table 4."""
    strategy, features = results.details["strategy"], FEATURES.get(results.details["features"], "")
    modality = {"audio": "sound", "video": "image"}.get(strategy, "both")
    approaches = [names[strategy] for names in (FUSIONS, ABLATION) if strategy in names] or [""]
    return [{"modality": modality, "joined": features, "approach": approach} for approach in approaches]


def _joined(name: str) -> str:
    return name if MODALITY_OF_INPUT[name] == "both" else ""


def _by_epoch(group: Sequence[Results]) -> dict[str, Figure]:
    """Accuracies after each epoch, as `accuracy_<epoch>`."""
    figures = {}
    for entry in group[0].epochs:
        same = [other for results in group for other in results.epochs if other["epoch"] == entry["epoch"]]
        figures[f"accuracy_{entry['epoch']}"] = _merged(same, "accuracy", [1] * len(same))
    return {name: figure for name, figure in figures.items() if figure is not None}


def _last(group: Sequence[Results], names: Sequence[str], *, within: str = "") -> dict[str, Figure]:
    """Scores after the last epoch, over the group; `within` an input where each has its own."""
    entries = [results.epochs[-1][within] if within else results.epochs[-1] for results in group]
    runs = [int(results.details.get("num_seeds", 1)) for results in group]
    figures = {name: _merged(entries, name, runs) for name in names}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _merged(entries: Sequence[dict[str, Any]], name: str, runs: Sequence[int]) -> Figure | None:
    """The mean over entries and the runs within them, and the deviation over all of these.

    Args:
        entries: each with a score `name`, a fraction, and where it is a mean over runs its `<name>_sd`.
        name: of the score.
        runs: how many runs each entry is the mean of.
    """
    known = [
        (entry[name], entry.get(f"{name}_sd") or 0.0, n)
        for entry, n in zip(entries, runs, strict=True)
        if entry.get(name) is not None
    ]
    if not known:
        return None
    total = sum(n for _, _, n in known)
    mean = sum(n * value for value, _, n in known) / total
    squares = sum((n - 1) * sd**2 + n * (value - mean) ** 2 for value, sd, n in known)
    scale = 1 if name in IN_NATS else 100
    return Figure(scale * mean, scale * math.sqrt(squares / (total - 1)) if total > 1 else None, name in IN_NATS)


def _seeds(group: Sequence[Results]) -> str:
    seeds = ", ".join(str(results.seed) for results in sorted(group, key=lambda results: results.seed))
    plural = "s" if len(group) > 1 else ""
    draws = int(group[0].details.get("num_seeds", 1))
    if draws == 1:
        return f"seed{plural} {seeds}"
    return f"{draws} draws × seeds {seeds}" if plural else f"{draws} draws, seed {seeds}"


def _conditions(results: Results) -> tuple[str, ...]:
    found = [f"head on {results.head_on}"] if LANDCOVER_SCORES[0] not in results.epochs[-1] else []
    if results.split:
        found.append(results.split)
    if results.details.get("image_size"):
        found.append(f"{results.details['image_size']} px")
    if results.details.get("sound_weights"):
        found.append(f"sound encoder {results.details['sound_weights']}")
    if results.details.get("teacher"):
        found.append(f"teacher {results.details['teacher']}")
    if results.details.get("over_events"):
        found.append(f"transfer loss as {results.details['over_events']} over events")
    if training := results.details.get("training"):
        rate = f"learning rate {training['optimizer.learning_rate']:g}"
        found.append(f"{training['optimizer.name']}, {rate}, {training['precision']}")
    found.append(f"{results.num_train:,} training, {results.num_test:,} test items")
    return tuple(found)
