"""Reads the place of an item of the Internet Archive from its fields, in the forms in which uploaders write it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, Axis, parse_coordinate

MOST_LETTERS = 2000
"""Of a field that is searched."""

_SIGNED = r"[+-−]?\d{1,3}(?:\.\d+)?"
_ANGLE = (
    r"\d{1,3}(?:[.,]\d+)?\s*[°º]\s*(?:\d{1,2}(?:[.,]\d+)?\s*['′’]\s*)?(?:\d{1,2}(?:[.,]\d+)?\s*(?:\"|″|”|''|′′)\s*)?"
)
_PAIR = re.compile(rf"(?P<first>{_SIGNED})\s*[,;/|\s]\s*(?P<second>{_SIGNED})(?![\d.])")
_COMMA_PAIR = re.compile(r"(?P<first>[+-−]?\d{1,3},\d+)\s*[;/|]\s*(?P<second>[+-−]?\d{1,3},\d+)(?!\d)")
_POINT = re.compile(rf"POINT\s*Z?\s*\(\s*(?P<second>{_SIGNED})\s+(?P<first>{_SIGNED})", re.IGNORECASE)
_LETTERED = re.compile(
    rf"(?P<first>(?:[NS]\s*)?(?:{_ANGLE}|{_SIGNED})\s*[NS]?)\s*[,;/|\s]\s*"
    rf"(?P<second>(?:[EW]\s*)?(?:{_ANGLE}|{_SIGNED})\s*[EW]?)(?![\w.])",
    re.IGNORECASE,
)
_NAMED = {
    LATITUDE_AXIS: re.compile(rf"\b(?:lat(?:itude)?|north(?:limit)?)\s*[:=]?\s*(?P<value>{_SIGNED})", re.IGNORECASE),
    LONGITUDE_AXIS: re.compile(rf"\b(?:lo?ng?(?:itude)?|east(?:limit)?)\s*[:=]?\s*(?P<value>{_SIGNED})", re.IGNORECASE),
}
_FIELDS = {
    LATITUDE_AXIS: ("latitude", "lat", "geo_lat"),
    LONGITUDE_AXIS: ("longitude", "lon", "lng", "long", "geo_lng"),
}


def place_of_item(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    """Longitude and latitude of an item: from fields of their own, else from `coverage`.

    Forms of `coverage`: "52.5,13.4", with or without a place's name behind; "52,5; 13,4"; "52°30'N 13°24'E";
    "N 52.5 E 13.4"; "latitude: 52.5, longitude: 13.4"; "east=13.4; north=52.5" (DCMI Point); "POINT(13.4 52.5)". Of two
    bare numbers the first is the latitude. The place (0, 0), which is what forms leave empty, is none.

    Args:
        fields: the item's metadata; values are texts, numbers or lists of these.

    Returns:
        Longitude and latitude in degrees, None where nothing within range is found.
    """
    candidates = [_from_fields(fields), *map(_from_text, texts_of(fields.get("coverage")))]
    for place in candidates:
        if place is not None and place != (0.0, 0.0):
            return place
    return None


def texts_of(value: Any) -> list[str]:
    """The texts of a field, which may hold one value or a list."""
    values = value if isinstance(value, list) else [value]
    return [str(each)[:MOST_LETTERS] for each in values if isinstance(each, str | int | float)]


def _from_fields(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    found = []
    for axis in (LONGITUDE_AXIS, LATITUDE_AXIS):
        text = next((texts[0] for name in _FIELDS[axis] if (texts := texts_of(fields.get(name)))), "")
        found.append(_degrees(text, axis))
    return _both(*found)


def _from_text(text: str) -> tuple[float, float] | None:
    named = {axis: pattern.search(text) for axis, pattern in _NAMED.items()}
    longitude, latitude = named[LONGITUDE_AXIS], named[LATITUDE_AXIS]
    if longitude and latitude:
        return _both(_degrees(longitude["value"], LONGITUDE_AXIS), _degrees(latitude["value"], LATITUDE_AXIS))
    for pattern in (_POINT, _COMMA_PAIR, _PAIR, _LETTERED):
        match = pattern.search(text)
        if match:
            place = _both(_degrees(match["second"], LONGITUDE_AXIS), _degrees(match["first"], LATITUDE_AXIS))
            if place is not None:
                return place
    return None


def _degrees(text: str, axis: Axis) -> float | None:
    try:
        value = parse_coordinate(text, axis)
    except ValueError:
        return None
    return value if abs(value) <= axis.limit else None


def _both(longitude: float | None, latitude: float | None) -> tuple[float, float] | None:
    return None if longitude is None or latitude is None else (longitude, latitude)
