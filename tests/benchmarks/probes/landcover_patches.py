"""Milliseconds of one core that a land-cover patch costs a training, and what preparing a tile costs: THIS FOLDER."""

from __future__ import annotations

import itertools
import json
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import torch

from downstream.benchmarks import BENCHMARKS
from downstream.landcover.patches import PatchBatches, PatchIndex
from downstream.landcover.tiles import survey_tiles
from pretrain.data.batches import BatchLayout

TILES, SIDE, SECONDS = 12, 2448, 6.0
PATCH, STRIDE, BATCH = 512, 347, 2

torch.set_num_threads(1)
cv2.setNumThreads(1)
folder = Path(sys.argv[1])
benchmark = BENCHMARKS.load("deepglobe")
if not (folder / "train").is_dir():
    (folder / "train").mkdir(parents=True)
    colours = np.array(list(benchmark.classes.values()), np.uint8)
    rng = np.random.default_rng(0)
    for number in range(TILES):
        coarse = rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "train" / f"{number}_sat.jpg"), cv2.resize(coarse, (SIDE, SIDE)))
        kinds = cv2.resize(
            rng.integers(0, len(colours), (40, 40), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST
        )
        cv2.imwrite(str(folder / "train" / f"{number}_mask.png"), colours[kinds][..., ::-1])
tiles = benchmark.load(folder, allow_partial=True).tiles
try:
    from downstream.landcover.decoded_tiles import decoded_tiles
except ImportError:  # a checkout in which every patch decodes its tile
    source, keep = nullcontext(benchmark.classes), {}
else:
    source, keep = decoded_tiles(folder / "out", benchmark.classes), {"keep": None}
with source as reading:
    if keep:
        keep["keep"] = reading.keep
    started = time.process_time()
    surveyed, _ = survey_tiles(tiles, benchmark.classes, max_corrupt=0, threads=1, **keep)
    prepared = time.process_time() - started
    batches = PatchBatches(
        PatchIndex(surveyed, PATCH, STRIDE), reading, BatchLayout(BATCH), seed=0, rank=0, first_step=0, last_step=10**9
    )
    started, count = time.process_time(), 0
    for _ in itertools.takewhile(lambda _: time.process_time() - started < SECONDS, batches):
        count += BATCH
    taken = time.process_time() - started
print(json.dumps({"cpu_ms_a_patch": 1000 * taken / count, "preparing_s_a_tile": prepared / len(tiles)}))
