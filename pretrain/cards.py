"""Parts shared by all model cards: front matter for the hub, title, paragraphs, tables, and code to load towers."""

from __future__ import annotations

import json
from collections.abc import Mapping

TAGS = ("remote-sensing", "audiovisual", "self-supervised", "cross-modal-retrieval")
FRONT_MATTER = f"library_name: earshot\ntags: [{', '.join(TAGS)}]"


def card(title: str, *paragraphs: str, front_matter: str = FRONT_MATTER) -> str:
    """Formats a card in Markdown.

    Args:
        title: heading of the card.
        paragraphs: the text below it; empty paragraphs are omitted.
        front_matter: YAML for the hub.
    """
    return "\n\n".join([f"---\n{front_matter}\n---\n# {title}", *filter(None, paragraphs)]) + "\n"


def section(heading: str, text: str) -> str:
    """Formats a paragraph under a heading; "" if there is no text."""
    return f"## {heading}\n\n{text}" if text else ""


def table(rows: Mapping[str, str]) -> str:
    """Formats a table of two columns without a header."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def loading(name: str = "FOLDER") -> str:
    """Returns Python code that loads both towers from a folder or by a name on the hub."""
    literal = json.dumps(name, ensure_ascii=False)
    return f"```python\nfrom pretrain.model import TwoTower\nmodel = TwoTower.from_pretrained({literal})\n```"
