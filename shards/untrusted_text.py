"""Escapes untrusted text for Markdown and terminals."""

from __future__ import annotations

import re

MOST_LETTERS = 120


def without_controls(text: str) -> str:
    """Untrusted text with U+FFFD for control characters, which a terminal obeys, other than tabs and ends of lines."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text.replace("\r\n", "\n"))


def without_surrogates(text: str) -> str:
    """Untrusted text with U+FFFD for lone surrogates, which JSON can name and no file in UTF-8 can hold."""
    return re.sub(r"[\ud800-\udfff]", "\ufffd", text)


def as_code(text: str) -> str:
    """Untrusted text as inline Markdown code: no markup inside it is active, and it can't break a table."""
    clean = " ".join(text.replace("`", "'").replace("|", "/").split())
    return f"`{clean[:MOST_LETTERS]}`" if clean else "–"


def as_text(text: str) -> str:
    """Untrusted text as Markdown on one line, within prose or a table cell: shown as it is, none of it is markup."""
    line = " ".join(without_controls(text).split())
    escaped = re.sub(r"[\\`*\[|~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", line)
    return escaped.replace("&", "&amp;").replace("<", "&lt;")


def as_line(text: str) -> str:
    """Text on one line, without the characters that start code, table cells, links or HTML."""
    return " ".join(re.sub(r"[`|<>\[\]]", "", text).split())


def as_quote(text: str) -> str:
    """A verbatim text as a fenced code block; the fence is longer than any fence inside the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.strip()}\n{fence}"
