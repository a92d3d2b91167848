"""The verb `evaluate`: embeds and ranks a split, and writes embeddings.npz, metrics.json and report.html."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from pretrain.precision import resolved
from pretrain.ranking.scores import DIRECTIONS
from pretrain.training.tracking import TRACKING_NAME, attach_report
from pretrain.weights.identity import weights_sha256
from retrieval.embedding import embed_pairs, make_folder, open_model_and_split
from retrieval.metrics_file import METRICS_NAME, OVERLAP, REPORT_NAME, print_scores
from retrieval.options import EvaluateOptions, check_choice
from retrieval.protocols import PROTOCOLS
from retrieval.protocols.protocol import Protocol
from retrieval.report import write_report
from retrieval.scoring import Evaluation, score
from retrieval.training_overlap import training_overlap
from shards.atomic_files import replaced_together, write_json
from shards.building.repeated_images import images_in_training, repeated_images
from shards.errors import UserError
from shards.schema import TRAIN_SPLIT
from shards.streaming.reading import ShardSet

EMBEDDINGS_NAME = "embeddings.npz"


def evaluate(options: EvaluateOptions) -> Evaluation:
    """Runs `evaluate`, and prints the scores and the path of the report.

    Raises:
        UserError: a mistake in the options, the weights or the shards.
    """
    options.check()
    protocol = PROTOCOLS[options.protocol]()
    crops = _crops(options, protocol)
    # Computed before loading, because a run in progress may replace the weights in the meantime.
    checksum = weights_sha256(options.weights)
    model, shard_set = open_model_and_split(
        options.weights, options.shards, options.split, device=options.device, force=options.force
    )
    split_by = shard_set.manifest.build.get("split_by")
    if protocol.needs_split_file and split_by != "file":
        print(
            f"warning: protocol {protocol.name} has a split of its own, but {options.shards} is split by {split_by}; "
            "its figures are not comparable with the published: write the split with 'python retrieval/run.py split' "
            "and build with --split-file",
            file=sys.stderr,
            flush=True,
        )
    make_folder(options.out)
    precision = resolved(options.precision)
    provenance = {
        "weights": str(options.weights),
        "weights_sha256": checksum,
        "shards": str(options.shards),
        "split": options.split,
        "crops": crops,
        "seed": options.seed,
        "precision": precision,
    }
    embedded = embed_pairs(
        model,
        shard_set,
        options.split,
        crop_starts=protocol.crop_starts(model.config.num_frames, crops, options.seed),
        batch_size=options.batch_size,
        precision=precision,
        provenance=provenance,
    )
    repeated, in_training = _repeated_keys(shard_set, options.split)
    if len(repeated) == len(embedded.embeddings.keys):
        print(
            f"warning: every pair of split {options.split} has an image that is also in training or earlier in the "
            "split, so there are no scores without repeated images; split by image (--split-by image) to have them",
            file=sys.stderr,
            flush=True,
        )
    evaluation = score(protocol, embedded, repeated)
    evaluation.metrics[OVERLAP] = _overlap(evaluation, shard_set, options.split, in_training)
    if (options.out / METRICS_NAME).exists():
        print(f"replacing the evaluation in {options.out}")
    with replaced_together(options.out, (EMBEDDINGS_NAME, METRICS_NAME, REPORT_NAME)) as new:
        embedded.save(new / EMBEDDINGS_NAME)
        write_json(new / METRICS_NAME, evaluation.metrics)
        write_report(new / REPORT_NAME, evaluation, shard_set)
    report = options.out / REPORT_NAME
    print_scores(evaluation.metrics)
    print(f"report: {report}")
    _attach(options.weights, report, evaluation.metrics)
    return evaluation


def evaluate_weights(
    weights: str | Path,
    shards: str | Path,
    out: str | Path,
    *,
    split: Literal["train", "val", "test"] = "test",
    protocol: str = "standard",
    crops: int | None = None,
    seed: int = 0,
    batch_size: int = 16,
    precision: Literal["fp32", "bf16", "auto"] = "fp32",
    device: str = "auto",
    force: bool = False,
) -> dict[str, Any]:
    """Evaluates weights on a split from Python; arguments and files are those of the verb `evaluate`.

    Returns:
        The contents of metrics.json.

    Raises:
        UserError: a mistake in an argument, the weights or the shards.
    """
    check_choice("precision", precision, ("fp32", "bf16", "auto"))
    options = EvaluateOptions(
        Path(weights),
        Path(shards),
        Path(out),
        split=split,
        protocol=protocol,
        crops=crops,
        seed=seed,
        batch_size=batch_size,
        precision=precision,
        device=device,
        force=force,
    )
    return evaluate(options).metrics


def _repeated_keys(shard_set: ShardSet, split: str) -> tuple[list[str], list[str] | None]:
    """Keys of the split's pairs whose image is also in training or earlier in the split, and of those in training.

    Of training, the first are none. Where images can't be compared, the second are None.
    """
    try:
        known = repeated_images(shard_set.folder, shard_set.manifest)
    except (UserError, OSError) as error:
        # A set of an earlier version, of which not all shards are here.
        print(f"warning: repeated images are not known, scores are of all pairs ({error})", file=sys.stderr, flush=True)
        return [], None
    repeated: list[str] = known["keys"].get(split, [])
    try:
        return repeated, images_in_training(shard_set.folder, shard_set.manifest, known).get(split, [])
    except (UserError, OSError) as error:
        print(f"warning: images that are also in training are not known ({error})", file=sys.stderr, flush=True)
        return repeated, None


def _overlap(
    evaluation: Evaluation, shard_set: ShardSet, split: str, in_training: list[str] | None
) -> dict[str, int | None] | None:
    """How many queries resemble training pairs; of the training split, None."""
    if split == TRAIN_SPLIT:
        return None
    keys = evaluation.ranking.embeddings.keys
    queries = slice(evaluation.protocol.num_queries(len(keys)))
    return training_overlap(shard_set, keys[queries], evaluation.metadata[queries], in_training)


def _crops(options: EvaluateOptions, protocol: Protocol) -> int:
    if protocol.default_crops is None:
        if options.crops not in (None, 1):
            message = f"warning: --crops {options.crops} has no effect: protocol {protocol.name} takes one random crop"
            print(message, file=sys.stderr)
        return 1
    return options.crops or protocol.default_crops


def _attach(weights: Path, report: Path, metrics: dict[str, Any]) -> None:
    """Attaches the report to the tracked run of the weights, if there is one."""
    for run_folder in (weights, weights.resolve().parent):
        if (run_folder / TRACKING_NAME).is_file():
            figures = {
                f"{metrics['split']}/{direction}/{name}": value
                for direction in DIRECTIONS
                for name, value in metrics[direction].items()
            }
            attach_report(run_folder, report, figures)
            return
