"""The demo world's land cover: generated places with their masks in DeepGlobe's colours.

`python shards/run.py build --source demo --root DIR …` writes `images/<key>.jpg` and `masks/<key>_mask.png`. Places of
its test split (key mod 10 is 2 or 5) validate, so that no weights trained on its shards have seen them.
"""

from __future__ import annotations

from downstream.landcover.benchmark import LandCoverBenchmark
from downstream.landcover.deepglobe import DEEPGLOBE_CLASSES


def is_in_test_split(number: int) -> bool:
    """Whether the place of a key is in the test split of the demo's shards."""
    return number % 10 in (2, 5)


DEMO_LANDCOVER = LandCoverBenchmark(
    name="demo-landcover",
    title="the demo world's land cover",
    classes=DEEPGLOBE_CLASSES,
    validates=is_in_test_split,
    rule="places of the shards' test split (key mod 10 is 2 or 5) validate, the others train",
    image_name="images/{key}.jpg",
    mask_name="masks/{key}_mask.png",
    # A tenth of the demo's 1,200 places, so that five epochs take about a minute on two cores.
    max_tiles=120,
    patch_size=128,
    patch_stride=128,
)
