"""What is hidden at each place of the demo world: land-use shares and moods, smooth in space."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, softmax

from shards.demo_world.land_uses import LAND_USES, SCENES
from shards.demo_world.regions import REGIONS, Region

REGION_KM = 44.0
"""Side of the square that a region's places lie in."""

CORRELATION_KM = 6.0
"""Distance over which a factor forgets itself."""

FIRST_KEY = 1000
MOODS = ("waves", "wind", "traffic", "trees", "ripeness", "rain", "tower", "hall_size")

_CONTRAST = 1.9
_WAVES_IN_FIELD = 192


@dataclass(frozen=True)
class Factors:
    """The hidden continuous factors of a place; each shapes its picture and its sound.

    Attributes:
        sea, river, town, village, industry, forest, farmland, park: shares of the land, in [0, 1], sum 1.
        waves: height and period of the swell, [0, 1], as the others below.
        wind: strength of the wind.
        traffic: width of the main road and cars on it.
        trees: how densely trees stand wherever trees stand, and birds with them.
        ripeness: of the crops, green to gold.
        rain: overcast and wet above one half.
        tower: size of the church tower where a settlement has one.
        hall_size: size of the factory halls and of their machines.
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
        """Whether a church stands here: in settlements, where the tower would be big enough to see."""
        return self.town + self.village > 0.22 and self.tower > 0.25

    def as_array(self) -> NDArray[np.float64]:
        """All factors in order of declaration, shape (16,)."""
        return np.array(dataclasses.astuple(self))


@dataclass(frozen=True)
class Place:
    """A point of the demo world.

    Attributes:
        key: an integer as a string; consecutive, so that every remainder of a division by 10 is as frequent.
        region: where in the world it lies.
        east_km, north_km: position in the region's square, [0, REGION_KM].
        factors: what is hidden there.
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
        """Name of the 11-km cell of its region that it lies in."""
        return f"{self.region.name}-{int(self.east_km // 11)}-{int(self.north_km // 11)}"

    def generator(self, seed: int, purpose: int) -> np.random.Generator:
        """The random numbers of this place for one purpose, the same wherever and whenever they are drawn."""
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
    """Land-use shares by a softmax of smooth fields, moods by their normal quantile; some follow the land use."""
    scores = {name: field.at(east_km, north_km) for name, field in fields.items()}
    shares = dict(zip(LAND_USES, softmax([_CONTRAST * scores[name] for name in LAND_USES]).tolist(), strict=True))
    scores["traffic"] += 1.2 * (shares["town"] + shares["industry"] - 0.25)
    scores["wind"] += 0.8 * (shares["sea"] + shares["farmland"] - 0.25)
    return Factors(**shares, **{name: float(ndtr(scores[name])) for name in MOODS})


def generate_places(num_places: int, seed: int) -> Iterator[Place]:
    """The places of the demo world; the first places of a larger world are those of a smaller one.

    Args:
        num_places: how many, at least 1.
        seed: of the world.
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
