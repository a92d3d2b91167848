"""`--dry-run` of `study prepare`: makes its checks, and prints what it would draw from, compute and write."""

from __future__ import annotations

import contextlib
import math

from retrieval.embedding import open_model_and_split
from retrieval.study.audible import PICTURE_PIXELS, audible_numbers, mean_clip_bytes
from retrieval.study.folder import LOCK_NAME, MEDIA_FOLDER, STUDY_NAME, at_work_in
from retrieval.study.options import PrepareOptions
from retrieval.study.preparing import check_audible, earlier_study, lacks_its_last_step
from shards.command_line.dry_runs import check_can_be_written, print_plan, size_of


def dry_run_prepare(options: PrepareOptions) -> None:
    """Prints what `study prepare` would do; weights and shards are opened, nothing is written.

    Raises:
        UserError: as `study prepare`, as far as it does not depend on the embeddings.
    """
    check_can_be_written(options.out)
    model, shard_set = open_model_and_split(
        options.weights, options.shards, options.split, device=options.device, force=options.force
    )
    numbers = audible_numbers(shard_set, options.split)
    check_audible(len(numbers), options)
    is_known = (options.out / LOCK_NAME).exists()
    with at_work_in(options.out, alone=True) if is_known else contextlib.nullcontext():
        replaces = lacks_its_last_step(options.out) or earlier_study(options.out, is_dry=True) is not None
    num_pairs, half = shard_set.num_samples(options.split), options.pairs // 2
    clips = size_of(options.pairs * mean_clip_bytes(shard_set, options.split, numbers))
    media = f"{options.pairs:,} images of at most {PICTURE_PIXELS} pixels and {options.pairs:,} clips (about {clips})"
    print_plan(
        {
            "weights": f"{options.weights}, {model.config.embedding_dim} dimensions",
            "pairs": f"{options.pairs:,} ({half:,} true, {half:,} retrieved) of {len(numbers):,} with a listening "
            f"clip; split {options.split} of {options.shards} has {num_pairs:,}",
            "batches": f"{math.ceil(num_pairs / options.batch_size):,} of {options.batch_size}, sound crops: "
            f"{options.crops}",
            "replaces" if replaces else "writes": f"{options.out}: {STUDY_NAME}, {MEDIA_FOLDER}/ with {media}",
        }
    )
