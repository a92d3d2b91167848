"""The regions of the demo world: locations, colours and bird songs."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class BirdSong:
    """The phrase of one species: syllables that sweep from one pitch to another.

    Attributes:
        start_hz: pitch at the start of a syllable.
        end_hz: pitch at its end.
        syllables: number of syllables in a phrase.
        syllable_seconds: duration of a syllable.
        gap_seconds: silence between syllables.
    """

    start_hz: float
    end_hz: float
    syllables: int
    syllable_seconds: float
    gap_seconds: float


@dataclass(frozen=True)
class Region:
    """A region of the world with its own style.

    Attributes:
        name: name in the metadata.
        longitude: longitude of the south-western corner, degrees east.
        latitude: latitude of the south-western corner, degrees north.
        roofs: colours of roofs, linear RGB in [0, 1].
        soil: colour of bare soil.
        grass: colour of meadows.
        leaves: colour of trees.
        sea: colour of deep water.
        crown_radius_px: mean radius of tree crowns in pixels of about 0.6 m.
        woodland_bird: the bird among trees.
        open_land_bird: the bird over fields.
    """

    name: str
    longitude: float
    latitude: float
    roofs: tuple[Colour, ...]
    soil: Colour
    grass: Colour
    leaves: Colour
    sea: Colour
    crown_radius_px: float
    woodland_bird: BirdSong
    open_land_bird: BirdSong


REGIONS = (
    Region(
        "brittany", -3.35, 48.55,
        roofs=((0.30, 0.32, 0.36), (0.24, 0.26, 0.30), (0.38, 0.38, 0.41)),
        soil=(0.55, 0.44, 0.33), grass=(0.40, 0.50, 0.25), leaves=(0.20, 0.34, 0.14), sea=(0.10, 0.27, 0.36),
        crown_radius_px=6.5,
        woodland_bird=BirdSong(3600, 2600, 4, 0.07, 0.04), open_land_bird=BirdSong(4600, 5400, 7, 0.03, 0.015),
    ),
    Region(
        "tuscany", 10.60, 42.75,
        roofs=((0.66, 0.38, 0.26), (0.72, 0.45, 0.31), (0.58, 0.33, 0.24)),
        soil=(0.66, 0.52, 0.36), grass=(0.53, 0.52, 0.28), leaves=(0.29, 0.35, 0.16), sea=(0.08, 0.34, 0.47),
        crown_radius_px=5.5,
        woodland_bird=BirdSong(2300, 3300, 3, 0.10, 0.03), open_land_bird=BirdSong(5600, 4700, 5, 0.04, 0.03),
    ),
    Region(
        "jutland", 9.05, 56.55,
        roofs=((0.60, 0.30, 0.24), (0.35, 0.33, 0.34), (0.68, 0.40, 0.30)),
        soil=(0.50, 0.42, 0.33), grass=(0.36, 0.50, 0.28), leaves=(0.14, 0.29, 0.19), sea=(0.14, 0.27, 0.31),
        crown_radius_px=4.5,
        woodland_bird=BirdSong(5000, 4300, 9, 0.03, 0.02), open_land_bird=BirdSong(2700, 3600, 2, 0.12, 0.05),
    ),
    Region(
        "nova-scotia", -64.45, 44.25,
        roofs=((0.34, 0.37, 0.40), (0.48, 0.30, 0.25), (0.56, 0.55, 0.52), (0.28, 0.38, 0.34)),
        soil=(0.47, 0.37, 0.30), grass=(0.42, 0.47, 0.26), leaves=(0.17, 0.30, 0.15), sea=(0.09, 0.22, 0.31),
        crown_radius_px=5.0,
        woodland_bird=BirdSong(4200, 4100, 2, 0.20, 0.06), open_land_bird=BirdSong(3400, 4700, 4, 0.06, 0.02),
    ),
    Region(
        "victoria", 143.30, -38.75,
        roofs=((0.62, 0.62, 0.60), (0.56, 0.36, 0.29), (0.45, 0.50, 0.51), (0.72, 0.69, 0.62)),
        soil=(0.68, 0.47, 0.31), grass=(0.60, 0.56, 0.34), leaves=(0.33, 0.38, 0.23), sea=(0.07, 0.32, 0.42),
        crown_radius_px=7.5,
        woodland_bird=BirdSong(1500, 2200, 3, 0.13, 0.03), open_land_bird=BirdSong(3100, 2500, 6, 0.05, 0.03),
    ),
    Region(
        "setouchi", 133.05, 34.05,
        roofs=((0.27, 0.30, 0.36), (0.36, 0.40, 0.46), (0.32, 0.31, 0.31), (0.42, 0.33, 0.29)),
        soil=(0.52, 0.45, 0.35), grass=(0.38, 0.52, 0.22), leaves=(0.18, 0.37, 0.13), sea=(0.08, 0.31, 0.35),
        crown_radius_px=6.0,
        woodland_bird=BirdSong(1900, 3900, 1, 0.28, 0.10), open_land_bird=BirdSong(4100, 3300, 8, 0.025, 0.02),
    ),
)  # fmt: skip
