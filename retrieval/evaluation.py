"""The verb `evaluate`: embeds a split, ranks it, and writes embeddings.npz, metrics.json and report.html."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from pretrain.ranking_scores import DIRECTIONS, MEDIAN_RANK, RECALL_AT_10_PERCENT, RECALLS
from pretrain.scores import Score
from pretrain.training.tracking import TRACKING_NAME, attach_report
from pretrain.weights.identity import weights_sha256
from retrieval.embedding import embed_pairs, make_folder, open_model_and_split
from retrieval.protocols import PROTOCOLS
from retrieval.protocols.protocol import Protocol
from retrieval.report import write_report
from retrieval.scoring import LABEL_ONLY, Evaluation, score
from shards.atomic_files import write_text_atomically
from shards.errors import UserError

METRICS_NAME = "metrics.json"
REPORT_NAME = "report.html"
SHOWN = (RECALLS[1], RECALLS[5], RECALLS[10], RECALL_AT_10_PERCENT, MEDIAN_RANK)
"""The scores of the printed table."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Embeds a split of a shard set, ranks it both ways, and writes embeddings.npz, metrics.json and report.html."""

    weights: Path
    """A run folder, a model folder, or a model on the hub (OWNER/NAME)."""
    shards: Path
    """The shard set."""
    out: Path
    """Folder to write to."""
    split: Literal["train", "val", "test"] = "test"
    """The split to rank."""
    protocol: Literal["standard", "khdlr"] = "standard"
    """How pairs are ranked: standard, or khdlr as SoundingEarth's authors published it."""
    crops: int | None = None
    """Evenly spaced sound crops whose embeddings are averaged (protocol standard; default 10)."""
    seed: int = 0
    """Fixes the random sound crops of protocol khdlr."""
    batch_size: int = 16
    """Pairs embedded at once."""
    device: str = "auto"
    """cpu, cuda, or auto: the GPU where there is one."""
    force: bool = False
    """Use a model on spectrograms of another kind than it was trained on."""


def show(out: Path) -> None:
    """Prints the table of the evaluation that was written to the folder `out`.

    Raises:
        UserError: the folder holds no finished evaluation.
    """
    report = out / REPORT_NAME
    try:
        metrics = json.loads((out / METRICS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"no evaluation at {out} ({error}); make one with evaluate") from error
    if not report.is_file():
        raise UserError(f"the evaluation at {out} is not finished: it has no {REPORT_NAME}; evaluate again")
    print_scores(metrics)
    print(f"report: {report}")


def evaluate(options: EvaluateOptions) -> Evaluation:
    """Carries out `evaluate` and prints the table and the path of the report.

    Raises:
        UserError: a mistake in the options, the weights or the shards.
    """
    protocol = PROTOCOLS[options.protocol]
    crops = _crops(options, protocol)
    # Before they are loaded: a run that goes on may replace them meanwhile.
    checksum = weights_sha256(options.weights)
    model, shard_set = open_model_and_split(
        options.weights, options.shards, options.split, device=options.device, force=options.force
    )
    make_folder(options.out)
    provenance = {
        "weights": str(options.weights),
        "weights_sha256": checksum,
        "shards": str(options.shards),
        "split": options.split,
        "crops": crops,
        "seed": options.seed,
    }
    embedded = embed_pairs(
        model,
        shard_set,
        options.split,
        crop_starts=protocol.crop_starts(model.config.num_frames, crops, options.seed),
        batch_size=options.batch_size,
        provenance=provenance,
    )
    evaluation = score(protocol, embedded)
    _remove_earlier(options.out)
    embedded.save(options.out / "embeddings.npz")
    write_text_atomically(options.out / METRICS_NAME, json.dumps(evaluation.metrics, indent=1) + "\n")
    report = write_report(options.out / REPORT_NAME, evaluation, shard_set)
    print_scores(evaluation.metrics)
    print(f"report: {report}")
    _attach(options.weights, report, evaluation.metrics)
    return evaluation


def _remove_earlier(out: Path) -> None:
    """Removes an earlier evaluation's report and figures, which what is written now would else be taken to belong to.

    Raises:
        UserError: they can't be removed.
    """
    if (out / METRICS_NAME).exists():
        print(f"replacing the evaluation in {out}")
    try:
        for name in (REPORT_NAME, METRICS_NAME):
            (out / name).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"the evaluation in {out} can't be replaced: {error.strerror}; name another --out") from error


def print_scores(metrics: dict[str, Any]) -> None:
    """Prints both directions beside chance."""
    n = metrics["gallery_size"]
    table = Table(title=f"{metrics['split']} split, {n} pairs, protocol {metrics['protocol']}", title_justify="left")
    table.add_column("")
    for shown in SHOWN:
        k = f" (k={-(-n // 10)})" if shown is RECALL_AT_10_PERCENT else ""
        table.add_column(shown.heading + k, justify="right")
    for part, words in (DIRECTIONS | {"chance": "chance", LABEL_ONLY: "label known only"}).items():
        if metrics[part]:
            table.add_row(words, *(_cell(shown, metrics[part][shown.key]) for shown in SHOWN))
    Console(width=100).print(table)


def _cell(of: Score, value: float | None) -> str:
    return "-" if value is None else f"{value:.{3 if of.is_fraction else 1}f}"


def _crops(options: EvaluateOptions, protocol: Protocol) -> int:
    if options.crops is not None and options.crops < 1:
        raise UserError(f"crops must be >= 1, got {options.crops}")
    if options.batch_size < 1:
        raise UserError(f"batch_size must be >= 1, got {options.batch_size}")
    if protocol.default_crops is None:
        if options.crops not in (None, 1):
            message = f"warning: --crops {options.crops} has no effect: protocol {protocol.name} takes one random crop"
            print(message, file=sys.stderr)
        return 1
    return options.crops or protocol.default_crops


def _attach(weights: Path, report: Path, metrics: dict[str, Any]) -> None:
    """Files the report with the tracked run that the weights come from, where there is one."""
    for run_folder in (weights, weights.resolve().parent):
        if (run_folder / TRACKING_NAME).is_file():
            figures = {
                f"{metrics['split']}/{direction}/{name}": value
                for direction in DIRECTIONS
                for name, value in metrics[direction].items()
            }
            attach_report(run_folder, report, figures)
            return
