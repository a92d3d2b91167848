"""`--dry-run` of `evaluate` and `embed`: makes their checks, and prints what they would read and write."""

from __future__ import annotations

import math

from pretrain.precision import resolved
from retrieval.embedding import load_model, open_model_and_split
from retrieval.evaluation import EMBEDDINGS_NAME
from retrieval.metrics_file import METRICS_NAME, REPORT_NAME
from retrieval.named_files import named_files
from retrieval.options import EmbedOptions, EvaluateOptions
from shards.command_line.dry_runs import check_can_be_written, check_file_can_be_written, print_plan, size_of

BYTES_PER_NUMBER = 4


def dry_run_evaluate(options: EvaluateOptions) -> None:
    """Prints what `evaluate` would do; weights and shards are opened, nothing is written.

    Raises:
        UserError: as `evaluate`.
    """
    check_can_be_written(options.out)
    model, shard_set = open_model_and_split(
        options.weights, options.shards, options.split, device=options.device, force=options.force
    )
    num_pairs = shard_set.num_samples(options.split)
    size = 2 * num_pairs * model.config.embedding_dim * BYTES_PER_NUMBER
    again = "replaces" if (options.out / METRICS_NAME).exists() else "writes"
    crops = "those of the protocol" if options.crops is None else str(options.crops)
    print_plan(
        {
            "weights": f"{options.weights}, {model.config.embedding_dim} dimensions",
            "pairs": f"{num_pairs:,} of split {options.split} in {options.shards}, protocol {options.protocol}, sound "
            f"crops: {crops}",
            "batches": _batches(num_pairs, options),
            again: f"{options.out}: {EMBEDDINGS_NAME} (about {size_of(size)}), {METRICS_NAME}, {REPORT_NAME}",
        }
    )


def dry_run_embed(options: EmbedOptions) -> None:
    """Prints what `embed` would do; the weights are opened and the files listed, nothing is written.

    Raises:
        UserError: as `embed`, as far as it does not depend on what is in the files.
    """
    check_file_can_be_written(options.out)
    files = named_files(options.paths, options.kind).paths
    model = load_model(options.weights, options.device)
    size = len(files) * model.config.embedding_dim * BYTES_PER_NUMBER
    read = sum(path.stat().st_size for path in files)
    print_plan(
        {
            "weights": f"{options.weights}, {model.config.embedding_dim} dimensions",
            options.kind: f"{len(files):,} files, {size_of(read)}, in {', '.join(map(str, options.paths))}",
            "batches": _batches(len(files), options),
            "replaces" if options.out.exists() else "writes": f"{options.out} (about {size_of(size)})",
        }
    )


def _batches(num_items: int, options: EvaluateOptions | EmbedOptions) -> str:
    return f"{math.ceil(num_items / options.batch_size):,} of {options.batch_size}, {resolved(options.precision)}"
