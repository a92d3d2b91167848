"""`--dry-run` of a benchmark: makes its checks on data and settings, and prints what it would train and write."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from downstream.benchmarks import BENCHMARKS
from downstream.results import RESULTS_NAME
from downstream.settings import DownstreamSettings
from pretrain import distributed
from pretrain.precision import resolve_precision
from pretrain.training.processes import start_accelerator
from shards.command_line.dry_runs import ENDING, free_bytes, print_plan, size_of

if TYPE_CHECKING:
    from downstream.command_line import Request


def dry_run(request: Request) -> None:
    """Reads the layout of the data as a run does, and prints the plan; writes nothing, and loads no weights.

    Raises:
        UserError: settings, data and processes don't fit together.
    """
    settings = resolve_precision(request.settings)
    accelerator = start_accelerator(settings)
    benchmark = BENCHMARKS[settings.benchmark]
    ending = ENDING
    if benchmark.is_generated_in(settings.root):
        sizes: dict[str, int] = {}
        ending = "dry run: the settings are checked, the data would be generated first; nothing was written"
    else:
        sizes = sizes_of(benchmark.kind.check(benchmark, settings))
    batch = settings.batch_size or getattr(benchmark, "batch_size", 0)
    seeds = getattr(settings, "num_seeds", 1)
    examples = max((count for name, count in sizes.items() if name != "classes"), default=0)
    lines = {
        "benchmark": f"{benchmark.title}, protocol {settings.protocol}",
        "data": f"{settings.root}{''.join(f', {count:,} {name}' for name, count in sizes.items())}",
        "weights": f"{settings.weights}, backbone {settings.backbone}",
        "epochs": f"{settings.epochs}{f', for each of {seeds} seeds' if seeds > 1 else ''}",
        "batch": f"{batch or 'of the kind'}"
        f"{f', at most {examples // batch:,} steps an epoch' if batch and examples else ''}",
        "device": f"{accelerator.device}, {settings.precision}, {distributed.num_processes()} processes",
        "start": f"resumes {settings.out}" if request.resume else "",
        "writes": f"{settings.out}: {RESULTS_NAME}, config.yaml, pictures and a model where the protocol trains one; "
        f"{size_of(free_bytes(settings.out))} free",
    }
    if distributed.is_first():
        print_plan(lines, ending=ending)


def sizes_of(checked: Any) -> dict[str, int]:
    """The number of entries of each list that a kind's check returns, such as 2,100 items and 21 classes.

    Args:
        checked: a dataclass, or a tuple with dataclasses among its members.
    """
    sizes: dict[str, int] = {}
    for part in checked if isinstance(checked, tuple) else (checked,):
        if dataclasses.is_dataclass(part) and not isinstance(part, DownstreamSettings):
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                if isinstance(value, list | tuple) and value:
                    sizes[field.name] = len(value)
    return sizes
