"""The benchmarks, by name; a new one is a file here and a line in its dict."""

from __future__ import annotations

from downstream.benchmarks.advance import ADVANCE
from downstream.benchmarks.aid import AID
from downstream.benchmarks.audiovisual_benchmark import AudiovisualBenchmark
from downstream.benchmarks.deepglobe import DEEPGLOBE
from downstream.benchmarks.demo_audiovisual import DEMO_AUDIOVISUAL
from downstream.benchmarks.demo_landcover import DEMO_LANDCOVER
from downstream.benchmarks.demo_scenes import DEMO_SCENES
from downstream.benchmarks.folder import FOLDER
from downstream.benchmarks.landcover_benchmark import LandCoverBenchmark
from downstream.benchmarks.resisc45 import RESISC45
from downstream.benchmarks.scene_benchmark import SceneBenchmark
from downstream.benchmarks.ucmerced import UCMERCED

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

BENCHMARKS: dict[str, SceneBenchmark | AudiovisualBenchmark | LandCoverBenchmark] = {
    **SCENE_BENCHMARKS,
    **AUDIOVISUAL_BENCHMARKS,
    **LANDCOVER_BENCHMARKS,
}
"""All of them."""
