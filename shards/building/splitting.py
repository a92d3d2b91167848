"""Assigns pairs to splits: by key, by location, by a column, or at random. Pure functions.

Every rule looks at one pair (or one group) at a time, so adding a pair never moves another to a different split.
"""

from __future__ import annotations

import hashlib
import math

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG)."""

VAL_SHARE = 0.1
TEST_SHARE = 0.2
"""Shares for the splits by cell, by column and at random, equal to those of the published split by key."""


def split_by_key(key: str) -> str:
    """The published split of SoundingEarth: key mod 10 = 7 is validation, 2 and 5 test, the rest training.

    Raises:
        ValueError: the key is not a number.
    """
    if not (key.isascii() and key.isdigit()):
        raise ValueError(f"key {key!r} is not a number")
    last_digit = int(key[-1])
    if last_digit == 7:
        return "val"
    return "test" if last_digit in (2, 5) else "train"


def split_at_random(name: str, seed: int) -> str:
    """The split of a key, or of a group that must stay together, by a hash of seed and name."""
    share = hash_share(f"{seed}:{name}")
    if share < VAL_SHARE:
        return "val"
    return "test" if share < VAL_SHARE + TEST_SHARE else "train"


def cell_group(longitude: float, latitude: float, cell_km: float) -> str:
    """The group of a place, which is its location cell.

    Raises:
        ValueError: see `location_cell`.
    """
    band, column = location_cell(longitude, latitude, cell_km)
    return f"cell:{band}:{column}"


def value_group(value: str, key: str) -> str:
    """The group of a pair by its value in a column; a pair with an empty value is a group of its own."""
    return f"value:{value}" if value else f"key:{key}"


def location_cell(longitude: float, latitude: float, cell_km: float) -> tuple[int, int]:
    """The cell of a place on a grid of nearly equal-area cells, about cell_km × cell_km each.

    The sphere is cut into latitude bands of equal height, and each band into equal parts of longitude, about as wide
    as the band is high.

    Args:
        longitude: degrees east, [-180, 180]; -180 and 180 are the same.
        latitude: degrees north, [-90, 90].
        cell_km: side of a cell in kilometres.

    Returns:
        (band, counted from the south; part of the band, counted from 180° west).

    Raises:
        ValueError: coordinates out of range or cell_km not a positive number.
    """
    if not (math.isfinite(cell_km) and cell_km > 0):
        raise ValueError(f"cell_km must be > 0, got {cell_km}")
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise ValueError(f"coordinates out of range: longitude {longitude}, latitude {latitude}")
    num_bands = max(1, round(math.pi * EARTH_RADIUS_KM / cell_km))
    band = min(num_bands - 1, int((latitude + 90) / 180 * num_bands))
    num_columns = cells_in_band(band, cell_km)
    column = int((longitude + 180) / 360 * num_columns) % num_columns
    return band, column


def cells_in_band(band: int, cell_km: float) -> int:
    """The number of cells in a latitude band."""
    num_bands = max(1, round(math.pi * EARTH_RADIUS_KM / cell_km))
    middle_latitude = math.radians(-90 + 180 * (band + 0.5) / num_bands)
    return max(1, round(2 * math.pi * EARTH_RADIUS_KM * math.cos(middle_latitude) / cell_km))


def hash_share(text: str) -> float:
    """A hash of the text, uniform in [0, 1)."""
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
