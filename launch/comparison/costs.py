"""What is known of a row's cost before it runs: training steps and pairs, and the sizes of its benchmarks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from downstream.settings import DownstreamSettings
from launch.comparison.rows import Job, Row
from launch.comparison.steps import steps_of
from pretrain.encoders.published_files import PublishedFile
from shards.command_line.dry_runs import size_of


@dataclass
class Sizes:
    """What the checks of a plan have counted.

    Attributes:
        steps: steps of an epoch, by number of the row; of rows that are still to be trained.
        pairs: pairs of the training split, by number of the row.
        benchmarks: what a benchmark has, such as 2,100 items, by label; of those that are still missing.
    """

    steps: dict[int, int] = field(default_factory=dict)
    pairs: dict[int, int] = field(default_factory=dict)
    benchmarks: dict[str, dict[str, int]] = field(default_factory=dict)


def describe_row(row: Row, sizes: Sizes) -> str:
    """One line with the steps of a row and their costs."""
    jobs = {job.label: job for job in row.benchmarks}
    parts = []
    for step in steps_of(row):
        if step.is_done():
            parts.append(f"{step.label} (done)")
            continue
        known = _of_benchmark(jobs[step.label], sizes) if step.label in jobs else _of_training(row, sizes)
        parts.append(f"{step.label} ({known})" if known else step.label)
    return f"{row.name}: {', '.join(parts)}"


def describe_weights(files: Iterable[PublishedFile]) -> list[str]:
    """A line for each different file of published weights."""
    return [
        f"weights: {file.name}, {'size unknown' if file.num_bytes is None else size_of(file.num_bytes)}, "
        f"{'in the cache' if file.is_cached else 'not in the cache: would be fetched'}"
        for file in dict.fromkeys(files)
    ]


def _of_training(row: Row, sizes: Sizes) -> str:
    config = row.config
    if not config.epochs:
        return "none, 0 epochs"
    steps, pairs = sizes.steps.get(row.number), sizes.pairs.get(row.number)
    known = f"{config.epochs:,} epochs x {f'{pairs:,}' if pairs else '?'} pairs in batches of {config.batch_size:,}"
    total = f": {config.epochs * steps:,} steps" if steps else ""
    return f"{f'at most {config.max_seconds:g} s or ' if config.max_seconds else ''}{known}{total}"


def _of_benchmark(job: Job, sizes: Sizes) -> str:
    settings, counts = job.settings, sizes.benchmarks.get(job.label, {})
    known = [f"{count:,} {name}" for name, count in counts.items()]
    if isinstance(settings, DownstreamSettings):
        seeds = getattr(settings, "num_seeds", 1)
        known += [f"{settings.epochs} epochs"] if settings.epochs else []
        known += [f"{seeds} seeds"] if seeds > 1 else []
    elif settings.crops is not None:
        known.append(f"{settings.crops} crops")
    return ", ".join(known)
