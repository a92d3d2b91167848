"""Reads the untrusted metadata of pairs, so that invalid entries can't break a page or a table."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from shards.errors import UserError
from shards.streaming.reading import StoredSample


def readable_metadata(sample: StoredSample) -> dict[str, Any] | None:
    """The metadata of a pair; {} if it is not a JSON object, None if it is not JSON.

    Raises:
        UserError: the shard can't be read.
    """
    try:
        metadata: object = sample.metadata()
    except UserError:  # also a ValueError
        raise
    except (ValueError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else {}


def text_of(metadata: dict[str, Any], name: str) -> str:
    """A text or number as a single line; "" if missing or of another type."""
    value = metadata.get(name)
    is_text = isinstance(value, str) or _is_number(value)
    return " ".join(str(value).split()) if is_text else ""


def link_of(text: str) -> str:
    """The text if it is an HTTP(S) URL, otherwise ""."""
    return text if text.startswith(("https://", "http://")) else ""


def place_of(metadata: dict[str, Any]) -> tuple[float, float] | None:
    """Longitude and latitude in degrees; None if missing or out of range."""
    longitude, latitude = metadata.get("longitude"), metadata.get("latitude")
    if _is_number(longitude) and _is_number(latitude) and abs(longitude) <= 180 and abs(latitude) <= 90:
        return float(longitude), float(latitude)
    return None


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
