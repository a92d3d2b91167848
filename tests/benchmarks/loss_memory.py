"""Batch triplet loss: time and peak memory of a forward and backward pass against the batch, beside its rivals.

    python tests/benchmarks/loss_memory.py [--sizes 512 2048 8192 16384] [--dimensions 128] [--json FILE]

The rivals are Algorithm 1 of SoundingEarth as printed, its distances replaced by torch.cdist, and
pytorch-metric-learning's triplet loss over all triplets in both directions, where that is installed. Every entry runs
in a process of its own, so that peaks don't mix: one pass to measure memory, then the fastest of a few. A form that
would take more than the memory that is free is not run. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from pretrain.losses.batch_triplet import plain_total
from pretrain.losses.batch_triplet_tiled import tiled_total

Entry = dict[str, str | int | float]
"""form, n; then seconds and peak_mb, or why_not."""


def ours_plain(image: Tensor, sound: Tensor) -> Tensor:
    """The whole distance matrix by matrix product."""
    return plain_total(image, sound, 1.0)


def ours_tiled(image: Tensor, sound: Tensor) -> Tensor:
    """The distance matrix tile by tile."""
    return tiled_total(image, sound, 1.0)


def hinges(distances: Tensor) -> Tensor:
    """The last three lines of Algorithm 1."""
    true = distances.diagonal()
    by_column = torch.sum(torch.relu(true.unsqueeze(0) - distances + 1.0))
    by_row = torch.sum(torch.relu(true.unsqueeze(1) - distances + 1.0))
    return by_column + by_row


def algorithm_1(image: Tensor, sound: Tensor) -> Tensor:
    """As printed: all differences first, n × n × d numbers."""
    differences = image.unsqueeze(1) - sound.unsqueeze(0)
    return hinges(torch.norm(differences, dim=2))


def by_cdist(image: Tensor, sound: Tensor) -> Tensor:
    """Algorithm 1 with torch's own distance matrix."""
    return hinges(torch.cdist(image, sound))


def metric_learning(image: Tensor, sound: Tensor) -> Tensor:
    """pytorch-metric-learning over all triplets, images as anchors and then sounds."""
    from pytorch_metric_learning.distances import LpDistance  # type: ignore[import-not-found]
    from pytorch_metric_learning.losses import TripletMarginLoss  # type: ignore[import-not-found]
    from pytorch_metric_learning.reducers import SumReducer  # type: ignore[import-not-found]

    loss = TripletMarginLoss(margin=1.0, distance=LpDistance(normalize_embeddings=False), reducer=SumReducer())
    labels = torch.arange(len(image))
    others = labels.clone()  # the same tensor would be taken for the same embeddings
    by_row: Tensor = loss(image, labels, ref_emb=sound, ref_labels=others)
    by_column: Tensor = loss(sound, labels, ref_emb=image, ref_labels=others)
    return by_row + by_column


FORMS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[int, int], float]]] = {
    # Beside each form about the bytes that it holds at its peak, for n pairs of d dimensions.
    "tiled": (ours_tiled, lambda n, d: 4 * 8 * n * d),
    "plain": (ours_plain, lambda n, d: 4 * 16 * n * n),
    "torch.cdist": (by_cdist, lambda n, d: 4 * 8 * n * n),
    "Algorithm 1": (algorithm_1, lambda n, d: 4 * 3 * n * n * d),
    "pytorch-metric-learning": (metric_learning, lambda n, d: 4 * 28 * n * n),
}
TILED = "tiled"


def memory_mb(field: str, path: str = "/proc/self/status") -> float:
    """A figure of the kernel's, such as VmHWM, the peak of this process."""
    match = re.search(rf"^{field}:\s+(\d+) kB", Path(path).read_text(encoding="ascii"), re.MULTILINE)
    assert match, field
    return int(match[1]) / 1024


def pass_seconds(form: Callable[[Tensor, Tensor], Tensor], image: Tensor, sound: Tensor) -> float:
    """Seconds of one forward and backward pass."""
    started = time.perf_counter()
    torch.autograd.grad(form(image, sound), (image, sound))
    return time.perf_counter() - started


def measure(name: str, n: int, dimensions: int, threads: int) -> tuple[float, float]:
    """Seconds of the fastest pass, and the peak of a pass in MB over what the process held before."""
    torch.set_num_threads(threads)
    form = FORMS[name][0]
    pass_seconds(form, *embeddings(8, dimensions))  # what is loaded and built once is not counted
    image, sound = embeddings(n, dimensions)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = memory_mb("VmRSS")
    seconds = pass_seconds(form, image, sound)
    peak_mb = memory_mb("VmHWM") - before
    repeats = max(2, min(20, int(3 / seconds)))
    return min(seconds, *(pass_seconds(form, image, sound) for _ in range(repeats))), peak_mb


def embeddings(n: int, dimensions: int) -> tuple[Tensor, Tensor]:
    """Image and sound embeddings that match moderately well."""
    image, noise = torch.randn(2, n, dimensions, generator=torch.Generator().manual_seed(0))
    return image.requires_grad_(), (0.3 * image.detach() + noise).requires_grad_()


def entry(name: str, n: int, dimensions: int, threads: int) -> Entry:
    """One form at one size, in a process of its own."""
    found: Entry = {"form": name, "n": n}
    if name == "pytorch-metric-learning" and find_spec("pytorch_metric_learning") is None:
        return found | {"why_not": "not installed"}
    needed_mb = FORMS[name][1](n, dimensions) / 2**20
    if needed_mb > 0.7 * memory_mb("MemAvailable", "/proc/meminfo"):
        return found | {"why_not": f"needs {needed_mb / 1024:,.0f} GB"}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        seconds, peak_mb = pool.submit(measure, name, n, dimensions, threads).result()
    return found | {"seconds": seconds, "peak_mb": peak_mb}


def print_table(entries: list[Entry], sizes: list[int], dimensions: int, threads: int) -> None:
    """A row for each form and size, and how it compares with the tiled form of that size."""
    table = Table(title=f"Batch triplet loss, forward and backward, d = {dimensions}, float32, {threads} threads")
    for heading in ("n", "form", "ms", "MB", "× time", "× memory"):
        table.add_column(heading, justify="left" if heading == "form" else "right", no_wrap=True)
    for n in sizes:
        of_size = [found for found in entries if found["n"] == n]
        tiled = next(found for found in of_size if found["form"] == TILED)
        for found in of_size:
            if "why_not" in found:
                table.add_row(f"{n:,}", str(found["form"]), str(found["why_not"]), "", "", "")
                continue
            seconds, peak_mb = float(found["seconds"]), float(found["peak_mb"])
            ratios = (seconds / float(tiled["seconds"]), peak_mb / max(float(tiled["peak_mb"]), 0.1))
            numbers = (seconds * 1000, peak_mb, *ratios)
            table.add_row(f"{n:,}", str(found["form"]), *(f"{x:,.1f}" if x < 100 else f"{x:,.0f}" for x in numbers))
        table.add_section()
    Console().print(table)


def main() -> None:
    """Measures every form at every size; prints the table and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048, 8192, 16_384])
    parser.add_argument("--dimensions", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    entries = [entry(name, n, options.dimensions, options.threads) for n in options.sizes for name in FORMS]
    print_table(entries, options.sizes, options.dimensions, options.threads)
    if options.json:
        settings = {"dimensions": options.dimensions, "threads": options.threads}
        machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
        options.json.write_text(json.dumps({**settings, **machine, "entries": entries}, indent=1) + "\n")


if __name__ == "__main__":
    main()
