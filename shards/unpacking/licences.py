"""The licence of a set as a whole, as the card beside its files states it: the front matter of a README.md."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from shards.records import DamagedRecord, read_bytes_within
from shards.untrusted_text import MOST_LETTERS, as_line

CARD_NAME = "README.md"
MOST_BYTES = 1 << 20
_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)


def licence_beside(folders: Iterable[Path]) -> str:
    """The licence in the first of these folders' README.md that states one, "" if none does."""
    return next((licence for folder in folders if (licence := licence_in_card(folder / CARD_NAME))), "")


def licence_in_card(path: Path) -> str:
    """The licence that a card's front matter states under `license`, with `license_name` if that is "other".

    Args:
        path: a README.md as data sets have it on the hub.

    Returns:
        One line of at most 120 letters; "" if there is no such file, or it states none.
    """
    try:
        text = read_bytes_within(path, MOST_BYTES).decode("utf-8", "replace")
    except DamagedRecord:
        return ""
    front = _FRONT_MATTER.search(text)
    if front is None:
        return ""
    names = _values(front[1], "license") or _values(front[1], "licence")
    further = _values(front[1], "license_name")
    if further and (not names or names == ["other"]):
        names = further
    return as_line(", ".join(names))[:MOST_LETTERS].strip()


def _values(front: str, name: str) -> list[str]:
    """The value of an entry, or those of its list, without quotes and comments."""
    match = re.search(rf"^{name}[ \t]*:[ \t]*(.*(?:\r?\n[ \t]*-[ \t].*)*)", front, re.MULTILINE)
    if match is None:
        return []
    lines = match[1].splitlines() or [""]
    words = [re.sub(r"^[ \t]*-[ \t]+", "", line) for line in lines[1:]] if not lines[0].strip() else [lines[0]]
    if words and words[0].startswith("["):
        words = words[0].strip("[] \t").split(",")
    return [clean for word in words if (clean := re.sub(r"\s+#.*$", "", word).strip().strip("'\""))]
