"""Fields of a foreign sample as text: nested records become dotted names, and what is too long is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shards.records import shortened
from shards.untrusted_text import without_controls

MOST_LETTERS = 2000
"""Of the text of a field; more is cut, and ends in an ellipsis."""
MOST_NAME_LETTERS = 100
MOST_FIELDS = 200
"""Of a sample; later ones are left out."""


def fields_of(record: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a record as text on one line each: `{"gps": {"lat": 1.5}}` gives `gps.lat`, "1.5".

    Lists of texts and numbers are joined by commas; lists of anything else, and empty values, are left out.
    """
    found: dict[str, str] = {}
    for name, text in _flattened(record, ""):
        if len(found) == MOST_FIELDS:
            break
        if text and name and name not in found:
            found[name] = text
    return found


def as_field(value: Any) -> str:
    """A value as text on one line, "" for none."""
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        simple = [as_field(item) for item in value if isinstance(item, str | int | float)]
        return shortened(", ".join(filter(None, simple)), MOST_LETTERS) if len(simple) == len(value) else ""
    if isinstance(value, float) and value != value:
        return ""
    # Cut before anything else looks at it: it may have millions of letters.
    return shortened(" ".join(without_controls(str(value)[: 4 * MOST_LETTERS]).split()), MOST_LETTERS)


def _flattened(record: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        name = f"{prefix}{' '.join(without_controls(str(name)[: 4 * MOST_NAME_LETTERS]).split())}"[:MOST_NAME_LETTERS]
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{name}.")
        else:
            yield name, as_field(value)
