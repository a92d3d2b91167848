"""Which code runs a benchmark: by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate import Accelerator

from downstream.audiovisual.benchmark import AudiovisualBenchmark
from downstream.audiovisual.running import run_audiovisual
from downstream.benchmarks import BENCHMARKS
from downstream.landcover.benchmark import LandCoverBenchmark
from downstream.landcover.running import run_landcover
from downstream.scenes.benchmark import SceneBenchmark
from downstream.scenes.demo_scenes import TableOfScenes
from downstream.scenes.running import run_scenes
from downstream.settings import DownstreamSettings
from downstream.tau.benchmark import TauBenchmark
from downstream.tau.demo_tau import DemoTau
from downstream.tau.running import run_tau
from downstream.transfer.benchmark import SoundEventsBenchmark, TransferBenchmark
from downstream.transfer.running import run_transfer
from downstream.transfer.sound_events import run_sound_events
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
