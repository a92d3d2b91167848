"""Reads the untrusted metadata of pairs, so that invalid entries can't break a page or a table."""

from __future__ import annotations

from typing import Any

from shards.records import DamagedRecord, as_number
from shards.streaming.reading import StoredSample


def readable_metadata(sample: StoredSample) -> dict[str, Any] | None:
    """The metadata of a pair; None if it is not a JSON object.

    Raises:
        UserError: the shard can't be read.
    """
    try:
        return sample.metadata()
    except DamagedRecord:
        return None


def text_of(metadata: dict[str, Any], name: str) -> str:
    """A text or number as a single line; "" if missing or of another type."""
    value = metadata.get(name)
    is_text = isinstance(value, str) or as_number(value) is not None
    return " ".join(str(value).split()) if is_text else ""


def link_of(text: str) -> str:
    """The text if it is an HTTP(S) URL, otherwise ""."""
    return text if text.startswith(("https://", "http://")) else ""
