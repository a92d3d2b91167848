"""How cost grows with the number of pairs: time and memory from a thousand pairs to ten million, and their exponents.

    python tests/benchmarks/growth.py [--largest 7] [--only NAME …] [--json FILE]

Sets are large by repetition: all tars of a split are links to one, which changes nothing for what looks them up. Every
case is a process of its own; what is imported is not counted. An exponent is that of the last factor of ten: 1 is
growth in proportion, and n·log n shows as 1.1. Ranking all pairs against all takes n² comparisons, whatever is done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own folder is there already, not tests/

import numpy as np
from benchmarks import search_speed
from benchmarks.measuring import alone, fastest, machine, peak_mib_of
from benchmarks.results import print_table
from rich.console import Console
from rich.table import Table
from tiny_shards import write_tiny_shards

from pretrain.data.batches import BatchLayout, TrainingBatches
from pretrain.presets import PRESETS
from pretrain.ranking import both_directions
from retrieval.explore.atlas_building import read_atlas
from retrieval.explore.gallery_index import EXACT_UP_TO, build_index, open_index
from shards.building.planning import BuildOptions, make_plan
from shards.building.repeated_images import count_repeated
from shards.building.writing import ShardWriter
from shards.decoding.image_hash import ImageHash
from shards.manifest import Manifest
from shards.schema import Pair, Sample
from shards.sources.demo import DemoSource
from shards.sources.source import Listing, SourceOptions
from shards.streaming.index import index_name
from shards.streaming.reading import ShardSet

SAMPLES_PER_SHARD = 256
SMALLEST_POWER, LARGEST_POWER = 3, 7
BATCH = 64
RANKED_DIMENSIONS = 128

Work = Callable[[Path, int], Callable[[], object]]
"""Sets up a case of this many pairs in a folder and returns the function to time."""


@dataclass(frozen=True)
class Task:
    """What is measured at every size.

    Attributes:
        work: sets up a case.
        largest_power: of ten; beyond, it takes too long here, or works on a sample of fixed size.
        needs_set: whether the folder must hold a shard set of that size.
    """

    work: Work
    largest_power: int = LARGEST_POWER
    needs_set: bool = False


def write_set(folder: Path, num_pairs: int) -> None:
    """Writes a shard set of this many training pairs whose tars are hard links to one."""
    write_tiny_shards(folder, {"train": SAMPLES_PER_SHARD, "val": 8}, samples_per_shard=SAMPLES_PER_SHARD)
    manifest = Manifest.load(folder)
    first, *others = manifest.shards
    entries = []
    for number in range(math.ceil(num_pairs / SAMPLES_PER_SHARD)):
        entry = dataclasses.replace(first, name=f"train-{number:06d}.tar")
        entries.append(entry)
        for name, of_first in ((entry.name, first.name), (index_name(entry), index_name(first))):
            if name != of_first:
                os.link(folder / of_first, folder / name)
    dataclasses.replace(manifest, shards=(*entries, *others)).save(folder)


def plan(folder: Path, num_pairs: int) -> Callable[[], object]:
    """Splits by location and the order of the shards, from a listing."""
    file = folder / "file"
    file.touch()
    places = np.random.default_rng(0).uniform((-180, -60), (180, 70), (num_pairs, 2)).tolist()
    pairs = tuple(Pair(str(number), file, file, *place) for number, place in enumerate(places))
    options = BuildOptions("demo", folder / "out", folder, split_by="cell", workers=1)
    source = DemoSource(SourceOptions(root=folder))
    return lambda: make_plan(source, Listing(pairs, (), ()), options)


def pack(folder: Path, num_pairs: int) -> Callable[[], object]:
    """Writes shards of small pairs, with index and checksum."""
    spectrogram = np.zeros((128, 128), np.uint8, order="F")

    def run() -> None:
        for start in range(0, num_pairs, SAMPLES_PER_SHARD):
            with ShardWriter(folder, f"train-{start // SAMPLES_PER_SHARD:06d}.tar", with_previews=False) as writer:
                for number in range(start, min(start + SAMPLES_PER_SHARD, num_pairs)):
                    writer.add(Sample(str(number), b"\xff\xd8" + bytes(500), spectrogram, {"title": "x"}, None))
                writer.finish()

    return run


def find_repeated(_folder: Path, num_pairs: int) -> Callable[[], object]:
    """Finds the images that occur more than once, from their hashes: the last step of a build."""
    rng = np.random.default_rng(0)
    listed = [
        ("train", str(number), ImageHash(str(number), bits, rng.bytes(256)))
        for number, bits in enumerate(rng.integers(0, 2**64, num_pairs, dtype=np.uint64).tolist())
    ]
    return lambda: count_repeated(listed)


def open_set(folder: Path, num_pairs: int) -> Callable[[], object]:
    """Opens a set, checks its files and decodes one image."""

    def run() -> None:
        shard_set = ShardSet.open(folder)
        shard_set.check_files("train")
        shard_set.sample("train", num_pairs // 2).image()

    return run


def order(folder: Path, _num_pairs: int) -> Callable[[], object]:
    """The order of an epoch."""
    shard_set = ShardSet.open(folder)
    return lambda: shard_set.epoch_order("train", seed=0, epoch=1, block_samples=8192)


def _batches(folder: Path, num_pairs: int) -> TrainingBatches:
    config = dataclasses.replace(PRESETS["demo"], batch_size=BATCH)
    middle = num_pairs // BATCH // 2
    return TrainingBatches(
        ShardSet.open(folder), config, BatchLayout(BATCH), rank=0, first_step=middle, last_step=10**9
    )


def batch(folder: Path, num_pairs: int) -> Callable[[], object]:
    """A batch within an epoch: the data of a step."""
    batches = iter(_batches(folder, num_pairs))
    next(batches)
    return lambda: next(batches)


def resume(folder: Path, num_pairs: int) -> Callable[[], object]:
    """The first batch of a run that is resumed in the middle of an epoch."""
    return lambda: next(iter(_batches(folder, num_pairs)))


def rank(_folder: Path, num_pairs: int) -> Callable[[], object]:
    """The ranks of all pairs among all, both ways."""
    image, noise = np.random.default_rng(0).standard_normal((2, num_pairs, RANKED_DIMENSIONS), dtype=np.float32)
    return lambda: both_directions(image, image + noise)


def _atlas(folder: Path, num_pairs: int) -> dict[str, np.ndarray]:
    search_speed.write_embeddings(folder, num_pairs, search_speed.CLUSTERS)
    contents = read_atlas(folder, (num_pairs, search_speed.DIMENSIONS))
    assert contents
    return contents.arrays


def index_atlas(folder: Path, num_pairs: int) -> Callable[[], object]:
    """Builds the explorer's index of one modality."""
    arrays = _atlas(folder, num_pairs)
    gallery, queries = arrays["image_embeddings"], arrays["sound_embeddings"]
    return lambda: build_index(gallery, queries, folder / "image.faiss", exact_up_to=EXACT_UP_TO)


def search_atlas(folder: Path, num_pairs: int) -> Callable[[], object]:
    """Opens the explorer's index and answers a question."""
    index_atlas(folder, num_pairs)()
    arrays = _atlas(folder, num_pairs)
    gallery, query = arrays["image_embeddings"], np.array(arrays["sound_embeddings"][0])
    return lambda: open_index(gallery, folder / "image.faiss").search(query, 10)


TASKS = {
    "build: plan": Task(plan, 6),
    "build: pack": Task(pack, 5),
    "build: repeated images": Task(find_repeated, 6),
    "open": Task(open_set, needs_set=True),
    "order of an epoch": Task(order, needs_set=True),
    "batch of 64": Task(batch, needs_set=True),
    "resume": Task(resume, needs_set=True),
    "evaluate: ranks, both ways": Task(rank, 5),
    "atlas: index": Task(index_atlas),
    "explore: open and search": Task(search_atlas),
}


def measured(work: Work, needs_set: bool, num_pairs: int) -> dict[str, float]:
    """Seconds and MiB of a case, in this process."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "set"
        write_set(folder, num_pairs) if needs_set else folder.mkdir()
        action = work(folder, num_pairs)
        seconds, mib = peak_mib_of(lambda: fastest(action, 1))
        return {"seconds": seconds, "mib": mib}


def exponent(figures: dict[int, dict[str, float]], name: str) -> float | None:
    """That of the last factor of ten; None where too little was measured to tell."""
    powers = sorted(figures)
    if len(powers) < 2 or figures[powers[-1]][name] <= 0 or figures[powers[-2]][name] <= 0:
        return None
    return math.log10(figures[powers[-1]][name] / figures[powers[-2]][name]) / (powers[-1] - powers[-2])


def as_table(found: dict[str, dict[int, dict[str, float]]], powers: range) -> Table:
    """Seconds and MiB of every task at every size, and their exponents."""
    table = Table(title=" · ".join(f"{name} {value}" for name, value in machine().items()), title_justify="left")
    for heading in ("", *(f"10^{power}" for power in powers), "exponent"):
        table.add_column(heading, justify="right" if heading else "left")
    for task, figures in found.items():
        for name, unit in (("seconds", "s"), ("mib", "MiB")):
            values = [f"{figures[power][name]:.3g}" if power in figures else "" for power in powers]
            slope = exponent(figures, name)
            table.add_row(f"{task}, {unit}", *values, "" if slope is None else f"{slope:.2f}")
    return table


def main() -> None:
    """Measures, prints the table and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME", help=", ".join(TASKS))
    parser.add_argument("--largest", type=int, default=LARGEST_POWER, metavar="POWER", help="largest power of ten")
    options = parser.parse_args()
    powers = range(SMALLEST_POWER, options.largest + 1)
    found: dict[str, dict[int, dict[str, float]]] = {}
    for name in options.only:
        task = TASKS[name]
        found[name] = {}
        for power in powers:
            if power <= task.largest_power:
                Console(stderr=True).print(f"measuring {name}, 10^{power} pairs …")
                found[name][power] = alone(measured, task.work, task.needs_set, 10**power)
    print_table(as_table(found, powers))
    if options.json:
        exponents = {
            name: {what: exponent(figures, what) for what in ("seconds", "mib")} for name, figures in found.items()
        }
        record = {"machine": machine(), "tasks": found, "exponents": exponents}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
