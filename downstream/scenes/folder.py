"""Your own scenes: any folder of class folders, at its own image size."""

from __future__ import annotations

from downstream.scenes.benchmark import SceneBenchmark

FOLDER = SceneBenchmark(name="folder", title="a set of your own")
