"""Which code runs a benchmark: by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator

from downstream.benchmarks import BENCHMARKS
from downstream.benchmarks.audiovisual_benchmark import AudiovisualBenchmark
from downstream.benchmarks.demo_scenes import TableOfScenes
from downstream.benchmarks.landcover_benchmark import LandCoverBenchmark
from downstream.benchmarks.scene_benchmark import SceneBenchmark
from downstream.settings import DownstreamSettings
from downstream.tasks.audiovisual import run_audiovisual
from downstream.tasks.landcover import run_landcover
from downstream.tasks.scenes import run_scenes
from pretrain.preemption import PreemptionWatch

Runner = Callable[..., bool]
"""(benchmark, settings, accelerator, preemption, *, resume) → whether it came to its end; False: asked to make room."""

RUNNERS: dict[type[Any], Runner] = {
    SceneBenchmark: run_scenes,
    TableOfScenes: run_scenes,
    AudiovisualBenchmark: run_audiovisual,
    LandCoverBenchmark: run_landcover,
}


def run_benchmark(
    settings: DownstreamSettings, accelerator: Accelerator, preemption: PreemptionWatch, *, resume: bool
) -> bool:
    """Runs the benchmark that the settings name, and writes its results into `settings.out`.

    Returns:
        Whether it came to its end; False where a scheduler asked to make room, and it can be resumed.
    """
    benchmark = BENCHMARKS[settings.benchmark]
    return RUNNERS[type(benchmark)](benchmark, settings, accelerator, preemption, resume=resume)
