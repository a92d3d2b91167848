"""The raster scale of a corpus: percentiles over a sample of its training images, the same for all parts of a build."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shards.atomic_files import write_text_once
from shards.building.packing import WORK_FOLDER
from shards.building.planning import BuildPlan
from shards.building.splitting import hash_share
from shards.decoding.raster_scales import percentile_range
from shards.decoding.rasters import scaled_sample
from shards.errors import RejectedPair, failures_as_rejections
from shards.loudness import note
from shards.progress import ProgressLine
from shards.raster_settings import RasterSettings
from shards.records import json_as
from shards.schema import TRAIN_SPLIT, Pair

RASTERS_NAME = "rasters.json"

SAMPLED_RASTERS = 256
SEARCHED_FILES = 1000
"""Files that are opened at most in search of rasters with more than 8 bits."""

SAMPLED_SIDE = 1024
SAMPLED_PIXELS = 2**14
"""Of each raster: side of the central square that is read, and pixels a band that count, at most."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".webp", ".bmp")
"""Of files that are sampled last, because they hardly ever have more than 8 bits."""

SIGNIFICANT_DIGITS = 6

PROGRESS_ABOVE_IMAGES = 200


def settle_scale(rasters: RasterSettings, plan: BuildPlan, out: Path) -> RasterSettings:
    """The settings with the scale of the corpus, which the first process of a build measures and the others read.

    Args:
        rasters: as the options ask for.
        plan: of the build, kept in `out` before.
        out: the shard set in progress.
    """
    if rasters.scale_by != "corpus":
        return rasters
    path = out / WORK_FOLDER / RASTERS_NAME
    try:
        kept = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        pairs = [pair for shard in plan.shards if shard.split == TRAIN_SPLIT for pair in shard.pairs]
        kept = write_text_once(path, json.dumps(measure_scale(rasters, pairs).to_dict(), indent=1))
    return json_as(RasterSettings, kept, str(path), "give another --out, or remove this one to start it again")


def measure_scale(rasters: RasterSettings, pairs: Sequence[Pair]) -> RasterSettings:
    """The settings with the 2nd and 98th percentile of up to 256 rasters, drawn by a hash of their keys.

    Each counts with up to 2**14 pixels a band. Without a raster that needs a scale, the range stays None.

    Args:
        rasters: the bands.
        pairs: the training pairs.
    """
    drawn = sorted(pairs, key=lambda pair: (_is_picture(pair.image), hash_share(f"scale:{pair.key}"), pair.key))
    samples = []
    searched = drawn[:SEARCHED_FILES]
    show_progress = sum(not _is_picture(pair.image) for pair in searched) > PROGRESS_ABOVE_IMAGES
    with ProgressLine("sampling images for the raster scale", len(searched), enabled=show_progress) as progress:
        for pair in searched:
            progress.advance()
            try:
                with failures_as_rejections():
                    values = scaled_sample(pair.image, rasters, max_side=SAMPLED_SIDE, max_pixels=SAMPLED_PIXELS)
            except RejectedPair:
                continue  # it is rejected and counted when it is packed
            if values is not None and values.size:
                samples.append(values)
            if len(samples) == SAMPLED_RASTERS:
                break
    if not samples:
        return rasters
    low, high = (float(f"{value:.{SIGNIFICANT_DIGITS}g}") for value in percentile_range(np.concatenate(samples)))
    note(
        f"raster scale: {low:g} to {high:g}, the 2nd and 98th percentile of {len(samples)} training images", sys.stdout
    )
    return dataclasses.replace(rasters, scale_range=(low, high))


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES
