"""The whole loop through `pretrain/run.py`: pairs a second, the share of time waiting for data, and the bottleneck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import loader, model_step
from benchmarks.corpus import REPOSITORY, Workplace
from benchmarks.loop_shares import MOST_WAITING, WAITING, bottleneck, shares_of_time
from benchmarks.measuring import machine
from benchmarks.results import Figure, Row, Target

SUITE = "loop"
WARM_UP_STEPS = 3
CASES = {1: "1 process, 2 loader workers", 2: "2 processes (group norm), 1 loader worker each"}

TARGETS = (
    Target(
        "share of the loop waiting for data at 2 workers, soundingearth-resnet18",
        Figure(SUITE, CASES[1], "waiting_share"),
        None,
        MOST_WAITING,
        at_most=True,
        unit="of the time",
    ),
)


def measure(place: Workplace, earlier: list[Row]) -> list[Row]:
    """A run of one process and one of two; the bottleneck is named where loader and model were measured before."""
    return [measure_run(place, processes, earlier) for processes in CASES]


def measure_run(place: Workplace, processes: int, earlier: list[Row]) -> Row:
    """One run, warmed up."""
    batch_size, steps = (8, 6) if place.quick else (64, 15)
    out = place.folder / f"run-{processes}"
    train(place, processes, out, batch_size=batch_size, steps=steps)
    figures = figures_of(out / "metrics.jsonl", batch_size)
    rows = {row.case: row for row in earlier if row.why_not is None}
    core, step = rows.get(loader.OURS), rows.get(model_step.IN_LOOP[processes])
    if core and step:
        shares = shares_of_time(
            loop_seconds=1 / figures["pairs_per_second"],
            waiting_share=figures["waiting_share"],
            step_seconds=1 / float(step.figures["pairs_per_second"] or 1),
            loader_seconds=float(core.figures[loader.COST] or 0) / 1000,
            cores=machine()["cores"],
            on_cpu=machine()["cuda"] is None,
        )
        figures |= {f"share_of_{name}": value for name, value in shares.items() if name != WAITING}
        figures["bottleneck"] = bottleneck(shares, loader.stage_seconds(core), processes=processes)
    return Row(SUITE, CASES[processes], figures)


def train(place: Workplace, processes: int, out: Path, *, batch_size: int, steps: int) -> None:
    """Trains for some steps, by the command that a user gives, with no validation or checkpoint in between."""
    epochs = -(-(steps + WARM_UP_STEPS) // (len(place.corpus.keys) // batch_size))
    words = [loader.PRESET, "--shards", str(place.corpus.shards), "--out", str(out), "--tracker", "none"]
    words += ["--batch-size", str(batch_size), "--epochs", str(epochs), "--log-every-steps", "1"]
    words += ["--validation.every-epochs", "100000", "--checkpoint.every-epochs", "100000"]
    words += ["--optimizer.warmup-epochs", "0", "--data.workers", str(2 // processes)]
    if processes > 1:
        words += ["--model.norm", "group"]
    if place.quick:
        words += ["--data.image-size", "32", "--model.sound-pooling", "4", "--precision", "fp32", "--threads", "1"]
    binaries, script = Path(sys.executable).parent, str(REPOSITORY / "pretrain" / "run.py")
    if processes == 1:
        config = REPOSITORY / "launch" / "accelerate" / "one_process.yaml"
        launch = [str(binaries / "accelerate"), "launch", "--quiet", "--config_file", str(config)]
    else:
        launch = [str(binaries / "torchrun"), "--standalone", "--nproc_per_node", str(processes)]
    on_cpu = {} if machine()["cuda"] else {"ACCELERATE_USE_CPU": "true"}
    result = subprocess.run(
        [*launch, script, *words], env={**os.environ, **on_cpu}, capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(f"the training run ended with status {result.returncode}: {result.stderr[-2000:]}")


def figures_of(metrics: Path, batch_size: int) -> dict[str, Any]:
    """Pairs a second and the share of time waiting, over the steps after the warm-up."""
    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    steps = [line for line in lines if line["split"] == "train" and line["step"] > WARM_UP_STEPS]
    seconds = [batch_size / line["pairs_per_second"] for line in steps]
    waited = sum(line["waiting_for_data"] * taken for line, taken in zip(steps, seconds, strict=True))
    return {
        "pairs_per_second": batch_size * len(steps) / sum(seconds),
        "waiting_share": waited / sum(seconds),
        "steps": len(steps),
        "batch": batch_size,
    }
