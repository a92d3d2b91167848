"""The hidden factors of each place of the demo world: land-use shares and moods, smooth in space."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, softmax

from shards.demo_world.land_uses import LAND_USES, SCENES
from shards.demo_world.regions import REGIONS, Region

REGION_KM = 44.0
"""Side of a region's square."""

CORRELATION_KM = 6.0
"""Distance over which a factor decorrelates."""

FIRST_KEY = 1000
MOODS = ("waves", "wind", "traffic", "trees", "ripeness", "rain", "tower", "hall_size")

_CONTRAST = 1.9
_WAVES_IN_FIELD = 192


@dataclass(frozen=True)
class Factors:
    """The hidden continuous factors of a place; each shapes its picture and its sound.

    Attributes:
        sea, river, town, village, industry, forest, farmland, park: shares of the land, in [0, 1], sum 1.
        waves: height and period of the swell; this and the following factors are in [0, 1].
        wind: strength of the wind.
        traffic: width of the main road and density of cars.
        trees: density of trees, and of birds.
        ripeness: ripeness of the crops, from green to gold.
        rain: overcast and wet above 0.5.
        tower: size of the church tower, in settlements that have one.
        hall_size: size of the factory halls and their machines.
    """

    sea: float
    river: float
    town: float
    village: float
    industry: float
    forest: float
    farmland: float
    park: float
    waves: float
    wind: float
    traffic: float
    trees: float
    ripeness: float
    rain: float
    tower: float
    hall_size: float

    @property
    def scene(self) -> str:
        """The scene label: the name of the largest land use."""
        return SCENES[max(LAND_USES, key=lambda land_use: getattr(self, land_use))]

    @property
    def has_church(self) -> bool:
        """Whether there is a church: in settlements, if the tower would be large enough to be visible."""
        return self.town + self.village > 0.22 and self.tower > 0.25


@dataclass(frozen=True)
class Place:
    """A point of the demo world.

    Attributes:
        key: an integer as a string; keys are consecutive, so that all last digits are equally frequent.
        region: its region.
        east_km, north_km: position in the region's square, [0, REGION_KM].
        factors: its hidden factors.
    """

    key: str
    region: Region
    east_km: float
    north_km: float
    factors: Factors

    @property
    def longitude(self) -> float:
        """Degrees east."""
        return self.region.longitude + self.east_km / (111.32 * math.cos(math.radians(self.region.latitude)))

    @property
    def latitude(self) -> float:
        """Degrees north."""
        return self.region.latitude + self.north_km / 111.32

    @property
    def cell(self) -> str:
        """Name of its 11-km cell within the region."""
        return f"{self.region.name}-{int(self.east_km // 11)}-{int(self.north_km // 11)}"

    def generator(self, seed: int, purpose: int) -> np.random.Generator:
        """The random generator of this place for one purpose; depends only on seed, key and purpose."""
        return np.random.default_rng((seed, int(self.key), purpose))


class _SmoothField:
    """A Gaussian random field over a region with mean 0 and variance 1, as a sum of plane waves."""

    def __init__(self, generator: np.random.Generator) -> None:
        self._wave_vectors = generator.normal(0, 1 / CORRELATION_KM, (2, _WAVES_IN_FIELD))
        self._phases = generator.uniform(0, 2 * np.pi, _WAVES_IN_FIELD)

    def at(self, east_km: float, north_km: float) -> float:
        waves = np.cos(np.array([east_km, north_km]) @ self._wave_vectors + self._phases)
        return float(waves.sum() * math.sqrt(2 / _WAVES_IN_FIELD))


def _factors_at(fields: dict[str, _SmoothField], east_km: float, north_km: float) -> Factors:
    """Land-use shares as a softmax of smooth fields, moods as normal quantiles; some moods depend on the land use."""
    scores = {name: field.at(east_km, north_km) for name, field in fields.items()}
    shares = dict(zip(LAND_USES, softmax([_CONTRAST * scores[name] for name in LAND_USES]).tolist(), strict=True))
    scores["traffic"] += 1.2 * (shares["town"] + shares["industry"] - 0.25)
    scores["wind"] += 0.8 * (shares["sea"] + shares["farmland"] - 0.25)
    return Factors(**shares, **{name: float(ndtr(scores[name])) for name in MOODS})


def generate_places(num_places: int, seed: int) -> Iterator[Place]:
    """Generates the places of the demo world; a larger world starts with the places of a smaller one.

    Args:
        num_places: number of places, at least 1.
        seed: seed of the world.
    """
    fields = [
        {name: _SmoothField(np.random.default_rng((seed, 1, region, index)))
         for index, name in enumerate(LAND_USES + MOODS)}
        for region in range(len(REGIONS))
    ]  # fmt: skip
    for index in range(num_places):
        generator = np.random.default_rng((seed, 2, index))
        region = int(generator.integers(len(REGIONS)))
        east_km, north_km = generator.uniform(0, REGION_KM, 2).tolist()
        factors = _factors_at(fields[region], east_km, north_km)
        yield Place(str(FIRST_KEY + index), REGIONS[region], east_km, north_km, factors)
