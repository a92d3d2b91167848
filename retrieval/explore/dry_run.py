"""`--dry-run` of `explore`: makes its checks, and prints what it would compute, write and serve."""

from __future__ import annotations

import math
import socket

from retrieval.embedding import open_model_and_split
from retrieval.explore.atlas import folder_beside, in_order, place_of_atlas
from retrieval.explore.atlas_building import PairNumbers, bytes_of, num_embedded, read_atlas
from retrieval.explore.command import chosen_splits
from retrieval.explore.gallery_index import EXACT_UP_TO
from retrieval.explore.layout import DISPLAY_NAMES, FEWEST_PAIRS, MOST_POINTS, layout_name
from retrieval.explore.options import ExploreOptions
from retrieval.local_server import is_loopback, listen, shown_address
from shards.command_line.dry_runs import check_can_be_written, print_plan, size_of

BYTES_OF_POINTS = 24
"""Of a pair in the map of the embedding: its number and two points."""


def dry_run_explore(options: ExploreOptions) -> None:
    """Prints what `explore` would do; weights and shards are opened, nothing is written or served.

    Raises:
        UserError: as `explore`, as far as it does not depend on the embeddings.
    """
    with listen(options.host, options.port) as listener:
        serves = _serving(listener, options)
    splits = chosen_splits(options)
    model, shard_set = open_model_and_split(
        options.weights, options.shards, splits[0], device=options.device, force=options.force
    )
    numbers = PairNumbers.of(shard_set, in_order(splits))
    for split in numbers.splits:
        shard_set.check_files(split)
    place = place_of_atlas(options.weights, numbers, options.crops, options.cache or folder_beside(options.weights))
    check_can_be_written(place, "cache")
    shape = (len(numbers), model.config.embedding_dim)
    is_complete = read_atlas(place, shape) is not None
    done = 0 if is_complete else num_embedded(place, shape)
    to_do = len(numbers) - done
    mapped = min(len(numbers), MOST_POINTS)
    has_layout = mapped < FEWEST_PAIRS or (is_complete and (place / layout_name(options.layout, mapped)).exists())
    writes = [] if is_complete else [f"embeddings ({size_of(bytes_of(shape))})"]
    writes += ["two search indexes"] if len(numbers) > EXACT_UP_TO and not is_complete else []
    writes += [] if has_layout else [f"a {DISPLAY_NAMES[options.layout]} map ({size_of(mapped * BYTES_OF_POINTS)})"]
    print_plan(
        {
            "weights": f"{options.weights}, {shape[1]} dimensions",
            "pairs": f"{len(numbers):,} of split {', '.join(numbers.splits)} in {options.shards}, sound crops: "
            f"{options.crops}",
            "reuses": f"{place}: embeddings" if is_complete else f"{place}: {done:,} embedded pairs" if done else "",
            "batches": "" if is_complete else f"{math.ceil(to_do / options.batch_size):,} of {options.batch_size}",
            "writes": f"{place}: {', '.join(writes)}" if writes else "",
            "serves": serves,
        }
    )


def _serving(listener: socket.socket, options: ExploreOptions) -> str:
    where = shown_address(listener) if options.port else f"a free port of {options.host}"
    return f"{where}, {'to this machine alone' if is_loopback(listener) else 'to other machines, with a token'}"
