"""Which split a file belongs to by its name: `train-000001.tar`, `data/validation-00000-of-00002.parquet`."""

from __future__ import annotations

import re

WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Words for splits, in lower case."""


def split_in(name: str) -> str | None:
    """The split in a file's name, else in the nearest folder that names one.

    Args:
        name: a path or a URL.

    Returns:
        "train", "val" or "test"; None if no part of the name, or more than one split of the same part, is named.
    """
    path = re.sub(r"^[A-Za-z0-9+.-]+://[^/]*|[?#].*$", "", name) if "://" in name else name
    for part in reversed(path.replace("\\", "/").split("/")):
        found = {WORDS[word] for word in re.findall(r"[a-z]+", part.lower()) if word in WORDS}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def split_named(text: str) -> str | None:
    """The split that a word such as "validation" means; None if it means none."""
    return WORDS.get(text.strip().lower())
