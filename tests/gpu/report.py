"""The results of a run as one JSON and one table, with the targets that the figures are judged by."""

from __future__ import annotations

import platform
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from benchmarks import results
from benchmarks.measuring import machine
from benchmarks.results import Figure, Row, Target, judge, shown
from gpu import isolated, requirements
from gpu.bottlenecks import named_bottlenecks
from gpu.isolated import FAILED, PASSED, SKIPPED, Result

SUITE = "gpu"
LARGEST = 65_536
SHARED_MEMORY = Path("/dev/shm")

TARGETS = (
    Target(
        f"tiled PyTorch / fused kernel, time of the loss and its gradient at n = {LARGEST:,}",
        Figure(SUITE, "loss", f"tiled, n = {LARGEST:,}, ms"),
        Figure(SUITE, "loss", f"fused, n = {LARGEST:,}, ms"),
        2,
    ),
    Target(
        "soundingearth-resnet50 from JPEG shards, on an H100 or H200 beside 16 cores",
        Figure(SUITE, "loop, soundingearth-resnet50", "pairs_per_second"),
        None,
        4000,
        unit="pairs/s",
    ),
)


def as_record(checks: list[Result], timings: list[Result], *, device: str, **settings: Any) -> dict[str, Any]:
    """What is written as JSON; on the CPU no target is judged."""
    rows = [
        Row(SUITE, result.name, result.figures, None if result.outcome == PASSED else result.reason)
        for result in timings
    ]
    outcomes = [judge(target, rows if device == "cuda" else []) for target in TARGETS]
    record = results.as_record(machine() | of_gpu(), [], outcomes, device=device, **settings)
    del record["rows"]
    counts = Counter(result.outcome for result in (*checks, *timings))
    return record | {
        "versions": requirements.versions(),
        "counts": {outcome: counts[outcome] for outcome in (PASSED, FAILED, SKIPPED)},
        "checks": [isolated.as_record(result) for result in checks],
        "timings": [isolated.as_record(result) for result in timings],
        "bottlenecks": named_bottlenecks({result.name: result.figures for result in timings}),
    }


def of_gpu() -> dict[str, Any]:
    """The card, its memory and what drives it; empty without one."""
    found: dict[str, Any] = {"system": platform.platform(), "has_c_compiler": requirements.has_compiler()}
    if SHARED_MEMORY.is_dir():  # through which loader processes hand over batches
        found["shared_memory_gib"] = round(shutil.disk_usage(SHARED_MEMORY).total / 2**30, 1)
    if not torch.cuda.is_available():
        return found
    card = torch.cuda.get_device_properties(0)
    return found | {
        "capability": f"{card.major}.{card.minor}",
        "card_gib": round(card.total_memory / 2**30, 1),
        "cuda_version": torch.version.cuda,
        "cudnn_version": torch.backends.cudnn.version(),
    }


def as_text(record: dict[str, Any]) -> str:
    """The record as a table for people; it needs no package."""
    return "\n".join(_lines(record))


def heading_of(result: dict[str, Any]) -> str:
    """The first line of a check or timing."""
    reason = " ".join(result["reason"].split())
    return f"  {result['outcome']:8}{result['name']:42}{result['seconds']:6.1f} s  {reason}".rstrip()


def _lines(record: dict[str, Any]) -> Iterator[str]:
    yield " · ".join(f"{name} {value}" for name, value in record["machine"].items())
    yield " · ".join(f"{name} {value or 'MISSING'}" for name, value in record["versions"].items())
    if record["device"] != "cuda":
        yield "NO GPU: sizes are tiny, and the figures mean nothing"
    for heading in ("checks", "timings"):
        yield f"\n{heading}"
        for result in record[heading]:
            yield heading_of(result)
            for name, value in result["figures"].items():
                yield f"          {name}: {shown(value) if not isinstance(value, (list, dict)) else value}"
    yield "\ntargets"
    for target in record["targets"]:
        met = {None: "not measured", True: "met", False: "NOT MET"}[target["met"]]
        value = "" if target["value"] is None else f"{shown(target['value'])} {target['unit']}, "
        yield f"  {met:13}{target['what']}: {value}wanted ≥ {shown(target['bound'])} {target['unit']}"
    for name, sentence in record["bottlenecks"].items():
        yield f"  bottleneck of {name}: {sentence}"
    counts = ", ".join(f"{count} {outcome}" for outcome, count in record["counts"].items())
    yield f"\n{counts}, in {record['seconds']:.0f} s"
