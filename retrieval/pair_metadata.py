"""What strangers wrote beside a pair, read so that nothing they may have written stops a page or a table."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from shards.errors import UserError
from shards.streaming.reading import StoredSample


def readable_metadata(sample: StoredSample) -> dict[str, Any] | None:
    """What stands beside the pair by name, {} where it names nothing; None where it is no JSON.

    Raises:
        UserError: the shard can't be read.
    """
    try:
        metadata: object = sample.metadata()
    except UserError:  # a ValueError, too
        raise
    except (ValueError, RecursionError):
        return None
    return metadata if isinstance(metadata, dict) else {}


def text_of(metadata: dict[str, Any], name: str) -> str:
    """A text or a number, in one line; "" where there is none or something else."""
    value = metadata.get(name)
    is_text = isinstance(value, str) or _is_number(value)
    return " ".join(str(value).split()) if is_text else ""


def link_of(text: str) -> str:
    """The text where it is an address that a page may lead to, else ""."""
    return text if text.startswith(("https://", "http://")) else ""


def place_of(metadata: dict[str, Any]) -> tuple[float, float] | None:
    """Longitude and latitude in degrees; None where they are not known, or no place on Earth."""
    longitude, latitude = metadata.get("longitude"), metadata.get("latitude")
    if _is_number(longitude) and _is_number(latitude) and abs(longitude) <= 180 and abs(latitude) <= 90:
        return float(longitude), float(latitude)
    return None


def _is_number(value: object) -> TypeGuard[int | float]:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
