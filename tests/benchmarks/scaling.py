"""Where training stops scaling: a simulation of 1 to 512 GPUs from measured times and an assumed machine.

    python tests/benchmarks/scaling.py [--step-ms-a-pair 0.114 …] [--gpus 1 8 64 512] [--json FILE]

A GPU takes a batch from its own loader cores, which read ahead as far as the queue allows, embeds it, gathers all
embeddings, computes the loss of the whole batch, and exchanges gradients while it goes backward. A step begins when
every GPU has its batch, so that one slow answer of a file system holds up all. Loader times vary from batch to batch;
everything else is arithmetic. The defaults are those of the page in launch/README.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a script's own folder is there already, not tests/

import numpy as np
from benchmarks.results import print_table
from rich.table import Table

STEPS = 400
WAIT, ENCODERS, GATHER, LOSS, GRADIENTS = (
    "waiting for data", "encoders", "gathering embeddings", "loss", "exchanging gradients",
)  # fmt: skip
"""The parts of a step, in this order."""


@dataclass(frozen=True)
class Cluster:
    """What was measured, and what is assumed of a machine.

    Attributes:
        step_ms_a_pair: of a GPU, forward and backward.
        loader_ms_a_pair: of one core.
        read_kb_a_pair: what the loader reads.
        gradient_mb: of all weights, as they are exchanged.
        dimensions: of an embedding.
        pairs_a_gpu: of a batch.
        cores_a_gpu: loader cores.
        gpus_a_node: they share a network card and what the file system gives a node.
        network_gbit: a second, of a node.
        latency_us: of one exchange between two nodes.
        disk_gb: a second, of a node, from its own disk or the file system.
        storage_gb: a second, of the file system for all nodes together; infinite where shards lie on each node's disk.
        loss_tflops: of a GPU on distances, which are products of short vectors.
        spread: of a batch's loader time, the standard deviation of its logarithm.
        queue: batches that a loader is ahead at most.
    """

    step_ms_a_pair: float = 0.114
    loader_ms_a_pair: float = 1.11
    read_kb_a_pair: float = 104.0
    gradient_mb: float = 90.0
    dimensions: int = 128
    pairs_a_gpu: int = 128
    cores_a_gpu: int = 12
    gpus_a_node: int = 8
    network_gbit: float = 400.0
    latency_us: float = 20.0
    disk_gb: float = 10.0
    storage_gb: float = float("inf")
    loss_tflops: float = 50.0
    spread: float = 0.2
    queue: int = 4


def simulate(cluster: Cluster, gpus: int, *, steps: int = STEPS, seed: int = 0) -> dict[str, float]:
    """Milliseconds of each part of a step, their sum as "step", and "pairs_per_second".

    Args:
        cluster: the machine.
        gpus: that train together.
        steps: simulated, after as many as the queue holds.
        seed: of the loader's times.
    """
    produce = loader_ms(cluster, gpus)
    # exp(normal) has this mean, so that the mean time is the measured one.
    spread = cluster.spread
    batches = steps + cluster.queue
    drawn = produce * np.random.default_rng(seed).lognormal(-(spread**2) / 2, spread, (batches, gpus))
    fixed = fixed_ms(cluster, gpus)
    compute = sum(fixed.values())
    made, taken = np.zeros(gpus), np.zeros(batches)
    waited, now = 0.0, 0.0
    for number in range(batches):
        # A loader begins a batch when it has made the last one and the queue has room for it.
        room = taken[number - cluster.queue] if number >= cluster.queue else 0.0
        made = np.maximum(made, room) + drawn[number]
        start = max(now, float(made.max()))
        if number >= cluster.queue:
            waited += start - now
        taken[number], now = start, start + compute
    parts = {WAIT: waited / steps, **fixed}
    step = sum(parts.values())
    return {**parts, "step": step, "pairs_per_second": 1000 * gpus * cluster.pairs_a_gpu / step}


def loader_ms(cluster: Cluster, gpus: int) -> float:
    """Milliseconds between two batches of a GPU's loader: of its cores, or of what its share of the reading takes."""
    nodes = -(-gpus // cluster.gpus_a_node)
    on_node = min(gpus, cluster.gpus_a_node)
    gb_a_gpu = min(cluster.disk_gb / on_node, cluster.storage_gb / nodes / on_node)
    cores = cluster.pairs_a_gpu * cluster.loader_ms_a_pair / cluster.cores_a_gpu
    reading = cluster.pairs_a_gpu * cluster.read_kb_a_pair * 1e3 / (gb_a_gpu * 1e9) * 1e3
    return max(cores, reading)


def fixed_ms(cluster: Cluster, gpus: int) -> dict[str, float]:
    """Milliseconds of the parts of a step that do not vary.

    Rings send the embeddings once, and their gradients and those of the weights twice, through every node's card; a
    step of a ring adds a latency. Half of the backward pass, a third of the encoders' time, hides the weights'.
    """
    encoders = cluster.pairs_a_gpu * cluster.step_ms_a_pair
    batch = gpus * cluster.pairs_a_gpu
    # Every process computes all distances, and two products of that size for the gradients.
    loss = 3 * 2 * batch**2 * cluster.dimensions / (cluster.loss_tflops * 1e12) * 1e3
    nodes = -(-gpus // cluster.gpus_a_node)
    if nodes == 1:
        return {ENCODERS: encoders, GATHER: 0.0, LOSS: loss, GRADIENTS: 0.0}
    bytes_a_ms = cluster.network_gbit / 8 * 1e9 / 1e3
    share = (nodes - 1) / nodes
    latency = cluster.latency_us / 1e3 * (nodes - 1)
    gather = 3 * (2 * batch * cluster.dimensions * 4 * share / bytes_a_ms + latency)
    gradients = 2 * (cluster.gradient_mb * 1e6 * share / bytes_a_ms + latency)
    return {ENCODERS: encoders, GATHER: gather, LOSS: loss, GRADIENTS: max(0.0, gradients - encoders / 3)}


def bottleneck(parts: dict[str, float]) -> str:
    """The part to make faster first: the largest but the encoders, if it takes a tenth of the step."""
    name = max((WAIT, GATHER, LOSS, GRADIENTS), key=lambda part: parts[part])
    return name if parts[name] > parts["step"] / 10 else "none: the encoders"


def main() -> None:
    """Simulates, prints the table and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Cluster):
        kind = int if isinstance(field.default, int) else float
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=kind, default=field.default)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 512])
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = vars(parser.parse_args())
    gpus, file = options.pop("gpus"), options.pop("json")
    cluster = Cluster(**options)
    found = {number: simulate(cluster, number) for number in gpus}
    table = Table(title="milliseconds a step", title_justify="left")
    for heading in ("GPUs", WAIT, ENCODERS, GATHER, LOSS, GRADIENTS, "pairs/s", "of ideal", "bottleneck"):
        table.add_column(heading, justify="left" if heading == "bottleneck" else "right")
    for number, parts in found.items():
        ideal = 1000 * number / cluster.step_ms_a_pair
        shown = [f"{parts[name]:.2f}" for name in (WAIT, ENCODERS, GATHER, LOSS, GRADIENTS)]
        rate = parts["pairs_per_second"]
        table.add_row(str(number), *shown, f"{rate:,.0f}", f"{rate / ideal:.0%}", bottleneck(parts))
    print_table(table)
    if file:
        record = {"cluster": dataclasses.asdict(cluster), "gpus": found}
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
