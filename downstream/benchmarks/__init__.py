"""The benchmarks, by name; a new one is a file here and a line in its dict."""

from __future__ import annotations

from downstream.audiovisual.advance import ADVANCE
from downstream.audiovisual.benchmark import AudiovisualBenchmark
from downstream.audiovisual.demo_audiovisual import DEMO_AUDIOVISUAL
from downstream.landcover.benchmark import LandCoverBenchmark
from downstream.landcover.deepglobe import DEEPGLOBE
from downstream.landcover.demo_landcover import DEMO_LANDCOVER
from downstream.scenes.aid import AID
from downstream.scenes.benchmark import SceneBenchmark
from downstream.scenes.demo_scenes import DEMO_SCENES
from downstream.scenes.folder import FOLDER
from downstream.scenes.resisc45 import RESISC45
from downstream.scenes.ucmerced import UCMERCED
from downstream.tau.benchmark import TAU_SCENES, TauBenchmark
from downstream.tau.demo_tau import DEMO_TAU
from downstream.transfer.benchmark import ADVANCE_TRANSFER, SOUND_EVENTS, SoundEventsBenchmark, TransferBenchmark

SCENE_BENCHMARKS: dict[str, SceneBenchmark] = {
    benchmark.name: benchmark for benchmark in (UCMERCED, RESISC45, AID, FOLDER, DEMO_SCENES)
}
"""Scene recognition by fine-tuning or on frozen features."""

AUDIOVISUAL_BENCHMARKS: dict[str, AudiovisualBenchmark] = {
    benchmark.name: benchmark for benchmark in (ADVANCE, DEMO_AUDIOVISUAL)
}
"""Scene recognition from frozen embeddings of image and sound."""

LANDCOVER_BENCHMARKS: dict[str, LandCoverBenchmark] = {
    benchmark.name: benchmark for benchmark in (DEEPGLOBE, DEMO_LANDCOVER)
}
"""Land-cover mapping by DeepLabv3+."""

TRANSFER_BENCHMARKS: dict[str, TransferBenchmark | SoundEventsBenchmark] = {
    benchmark.name: benchmark for benchmark in (ADVANCE_TRANSFER, SOUND_EVENTS)
}
"""Scene recognition by whole networks that know sound events, and the networks that tell these."""

TAU_BENCHMARKS: dict[str, TauBenchmark] = {benchmark.name: benchmark for benchmark in (TAU_SCENES, DEMO_TAU)}
"""Scenes of audiovisual clips, by joint optimisation or one of its rivals."""

BENCHMARKS: dict[
    str,
    SceneBenchmark
    | AudiovisualBenchmark
    | LandCoverBenchmark
    | TransferBenchmark
    | SoundEventsBenchmark
    | TauBenchmark,
] = {
    **SCENE_BENCHMARKS,
    **AUDIOVISUAL_BENCHMARKS,
    **LANDCOVER_BENCHMARKS,
    **TRANSFER_BENCHMARKS,
    **TAU_BENCHMARKS,
}
"""All of them."""
