"""Words of strangers in Markdown, where they can be nothing but words."""

from __future__ import annotations

import re

MOST_LETTERS = 120


def as_code(text: str) -> str:
    """Words of strangers as Markdown code, in which nothing is markup and which breaks no table."""
    clean = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{clean[:MOST_LETTERS]}`" if clean else "–"


def as_line(text: str) -> str:
    """Words as one line without what makes code, cells, links or HTML."""
    return " ".join(re.sub(r"[`|<>\[\]]", "", text).split())


def as_quote(text: str) -> str:
    """A whole text word for word, as a block of code that is fenced longer than any fence in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.strip()}\n{fence}"
