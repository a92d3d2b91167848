"""Which code runs a benchmark: by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator

from downstream.benchmarks import BENCHMARKS
from downstream.benchmarks.audiovisual_benchmark import AudiovisualBenchmark
from downstream.benchmarks.demo_scenes import TableOfScenes
from downstream.benchmarks.demo_tau import DemoTau
from downstream.benchmarks.landcover_benchmark import LandCoverBenchmark
from downstream.benchmarks.scene_benchmark import SceneBenchmark
from downstream.benchmarks.tau_scenes import TauBenchmark
from downstream.benchmarks.transfer import SoundEventsBenchmark, TransferBenchmark
from downstream.settings import DownstreamSettings
from downstream.tasks.audiovisual import run_audiovisual
from downstream.tasks.landcover import run_landcover
from downstream.tasks.scenes import run_scenes
from downstream.tasks.sound_events import run_sound_events
from downstream.tasks.tau_scenes import run_tau
from downstream.tasks.transfer import run_transfer
from pretrain.preemption import PreemptionWatch

Runner = Callable[..., bool]
"""(benchmark, settings, accelerator, preemption, *, resume) → whether it came to its end; False: asked to make room."""

RUNNERS: dict[type[Any], Runner] = {
    SceneBenchmark: run_scenes,
    TableOfScenes: run_scenes,
    AudiovisualBenchmark: run_audiovisual,
    LandCoverBenchmark: run_landcover,
    TransferBenchmark: run_transfer,
    SoundEventsBenchmark: run_sound_events,
    TauBenchmark: run_tau,
    DemoTau: run_tau,
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
