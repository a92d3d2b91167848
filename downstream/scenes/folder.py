"""Your own scenes: any folder of class folders, at the size of its images."""

from __future__ import annotations

from downstream.scenes.benchmark import SceneBenchmark

FOLDER = SceneBenchmark(name="folder", title="a set of your own")
