"""What all model cards share: the hub's front matter, a title, paragraphs, tables, and how the towers are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping

TAGS = ("remote-sensing", "audiovisual", "self-supervised", "cross-modal-retrieval")
FRONT_MATTER = f"library_name: earshot\ntags: [{', '.join(TAGS)}]"


def card(title: str, *paragraphs: str, front_matter: str = FRONT_MATTER) -> str:
    """A card in Markdown.

    Args:
        title: its heading.
        paragraphs: what follows; empty ones are left out.
        front_matter: YAML for the hub.
    """
    return "\n\n".join([f"---\n{front_matter}\n---\n# {title}", *filter(None, paragraphs)]) + "\n"


def section(heading: str, text: str) -> str:
    """A paragraph under a heading; nothing where there is no text."""
    return f"## {heading}\n\n{text}" if text else ""


def table(rows: Mapping[str, str]) -> str:
    """A table of two columns without a header."""
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


def loading(name: str = "FOLDER") -> str:
    """Python that loads both towers of a folder or a name on the hub."""
    literal = json.dumps(name, ensure_ascii=False)
    return f"```python\nfrom pretrain.model import TwoTower\nmodel = TwoTower.from_pretrained({literal})\n```"
