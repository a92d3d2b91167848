"""Reads a longitude or latitude as people write it: decimal point or comma, degrees and minutes, N, S, E and W."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """One of the two coordinates.

    Attributes:
        name: longitude or latitude.
        limit: largest absolute value in degrees.
        positive, negative: letters of the hemispheres.
    """

    name: str
    limit: float
    positive: str
    negative: str


LONGITUDE_AXIS = Axis("longitude", 180.0, "E", "W")
LATITUDE_AXIS = Axis("latitude", 90.0, "N", "S")

_NUMBER = r"\d+(?:[.,]\d+)?"
_SEXAGESIMAL = re.compile(
    rf"(?P<before>[NSEW])?\s*(?P<sign>[+-])?\s*(?P<degrees>{_NUMBER})\s*(?:°|º|deg)?\s*"
    rf"(?:(?P<minutes>{_NUMBER})\s*['′’]\s*)?(?:(?P<seconds>{_NUMBER})\s*(?:\"|″|”|''|′′)\s*)?(?P<after>[NSEW])?",
    re.IGNORECASE,
)


def parse_coordinate(text: str, axis: Axis) -> float:
    """A coordinate in degrees: "7.5", "7,5", "7.5° E", "7°30'0\\" E" and "W 7.5" are read.

    Raises:
        ValueError: it is none; the message is a phrase about the text.
    """
    clean = text.strip().replace("\u2212", "-").replace("\u00a0", " ")
    try:
        return float(clean)
    except ValueError as error:
        match = _SEXAGESIMAL.fullmatch(clean)
        if match is None:
            raise ValueError(f"could not convert string to float: {text!r}") from error
    letters = f"{match['before'] or ''}{match['after'] or ''}".upper()
    if len(letters) > 1 or letters not in (axis.positive, axis.negative, "") or (letters and match["sign"]):
        raise ValueError(f"{text!r} is no {axis.name}, whose letters are {axis.positive} and {axis.negative}")
    degrees, minutes, seconds = (
        float((match[part] or "0").replace(",", ".")) for part in ("degrees", "minutes", "seconds")
    )
    if minutes >= 60 or seconds >= 60:
        raise ValueError(f"{text!r} has 60 or more minutes or seconds")
    value = degrees + minutes / 60 + seconds / 3600
    return -value if match["sign"] == "-" or letters == axis.negative else value
