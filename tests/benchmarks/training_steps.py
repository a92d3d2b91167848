"""A training started by its command: when its first steps are done, and the memory of its loaders."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.checkouts import Checkout
from benchmarks.measuring import memory_mib

POLL_SECONDS = 0.01
SETTINGS = ["--epochs", 1000, "--log-every-steps", 1, "--validation.every-epochs", 1000]
SETTINGS += ["--checkpoint.every-epochs", 1000, "--optimizer.warmup-epochs", 0]


@contextmanager
def training(
    checkout: Checkout, shards: Path, out: Path, *words: object
) -> Iterator[tuple[subprocess.Popen[Any], Iterator[dict[str, Any]]]]:
    """A training without end, and the lines of its metrics as they come; it is killed at the end of the block."""
    command = ["soundingearth-resnet18", "--shards", shards, "--out", out, *SETTINGS, *words]
    out.parent.mkdir(parents=True, exist_ok=True)
    errors = out.parent / f"{out.name}.log"
    with errors.open("w") as log:
        process = checkout.start("pretrain/run.py", *command, cwd=out.parent, stdout=log, stderr=log)
    try:
        yield process, _endless(metrics_lines(out / "metrics.jsonl", process), errors)
    finally:
        children = descendants(process.pid)
        process.kill()
        process.wait()
        for _ in range(500):  # loaders end by themselves
            if not any(Path(f"/proc/{child}").exists() for child in children):
                break
            time.sleep(POLL_SECONDS)


def metrics_lines(path: Path, process: subprocess.Popen[Any]) -> Iterator[dict[str, Any]]:
    """The lines of a run's metrics as they are written, until its process has ended."""
    place, is_over = 0, False
    while not is_over:
        is_over = process.poll() is not None
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        end = text.rfind("\n") + 1
        yield from map(json.loads, text[place:end].splitlines())
        place = end
        time.sleep(POLL_SECONDS)


def _endless(lines: Iterator[dict[str, Any]], errors: Path) -> Iterator[dict[str, Any]]:
    yield from lines
    raise RuntimeError(f"the training ended: {errors.read_text(encoding='utf-8')[-2000:]}")


def descendants(pid: int) -> list[int]:
    """The processes that a process started, and those that they started."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(other for child in children for other in descendants(child))]


def loader_memory_mib(pid: int, workers: int) -> float:
    """The memory of a training's loaders, a worker: helpers count, pages in common are shared."""
    found = 0.0
    for child in descendants(pid):
        command = Path(f"/proc/{child}/cmdline").read_text(encoding="utf-8")
        if not re.search(r"resource_tracker", command):
            found += memory_mib("Pss", f"/proc/{child}/smaps_rollup")
    return found / workers
