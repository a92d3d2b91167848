"""DeepGlobe land cover: 803 tiles of 2448 × 2448 pixels with masks of six classes (Demir et al., CVPRW 2018).

Masks were published for the folder `train/` alone, so validation tiles are taken from it. The authors of SoundingEarth
never published theirs; ours are the tiles whose id is a multiple of 5, about a fifth of them. `--val-ids FILE`, an id a
line, replaces the rule. Figures under another division are not to be compared to the digit.
"""

from __future__ import annotations

from downstream.landcover.benchmark import Colour, LandCoverBenchmark

DEEPGLOBE_CLASSES: dict[str, Colour] = {
    "urban": (0, 255, 255),
    "agriculture": (255, 255, 0),
    "rangeland": (255, 0, 255),
    "forest": (0, 255, 0),
    "water": (0, 0, 255),
    "barren": (255, 255, 255),
}
"""The challenge's palette; black, (0, 0, 0), is unknown and counts nowhere."""


def is_multiple_of_five(number: int) -> bool:
    """The rule for validation tiles, on a tile's id."""
    return number % 5 == 0


DEEPGLOBE = LandCoverBenchmark(
    name="deepglobe",
    title="DeepGlobe land cover",
    classes=DEEPGLOBE_CLASSES,
    validates=is_multiple_of_five,
    rule="tiles whose id is a multiple of 5 validate, the others train",
    places=("train", ""),
    num_tiles=803,
)
