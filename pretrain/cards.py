"""Parts shared by all model cards: front matter for the hub, title, paragraphs, tables, and code to use the towers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TAGS = ("remote-sensing", "audiovisual", "self-supervised", "cross-modal-retrieval")
FRONT_MATTER = f"library_name: earshot\ntags: [{', '.join(TAGS)}]"

DEAF = """Sound files can't be embedded: how the source computed its spectrograms is not published."""


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


@dataclass(frozen=True)
class Usage:
    """How towers are used from Python: files in and arrays out, then tensors.

    Attributes:
        name: what they are loaded by: a folder, or a name on the hub.
        dimensions: of the embeddings.
        image_size: side of the image tower's input, in pixels.
        sound_shape: of the sound tower's inputs, as text; "" if images and sounds can't be compared.
        hears_files: whether the spectrograms can be computed from sound files.
    """

    name: str
    dimensions: int
    image_size: int
    sound_shape: str
    hears_files: bool

    def of_files(self) -> str:
        """Python code that embeds files, in Markdown."""
        lines = [
            ("import earshot", ""),
            ("", ""),
            (f"model = earshot.load({self._literal})", "a folder, or a name on the hub"),
            ('images = model.embed_images("tile.jpg")', f"or a list, a folder, arrays: (n, {self.dimensions}) float32"),
        ]
        others = "images"
        if self.sound_shape and self.hears_files:
            lines.append(('sounds = model.embed_sounds("recording.wav")', "likewise"))
            others = "sounds"
        compared = f"similarity = model.similarity(images, {others})"
        lines.append((compared, "(n, m) negative Euclidean distances: larger is nearer"))
        return python_block(lines)

    def of_tensors(self) -> str:
        """Python code that embeds prepared inputs, in Markdown."""
        lines = [
            ("from pretrain.model import TwoTower", ""),
            ("", ""),
            (f"towers = TwoTower.from_pretrained({self._literal})", ""),
            ("images = towers.encode_image(pixels)", f"(n, 3, {self.image_size}, {self.image_size}) uint8"),
        ]
        if self.sound_shape:
            lines.append(("sounds = towers.encode_sound(spectrograms)", f"{self.sound_shape} uint8"))
        return python_block(lines)

    @property
    def _literal(self) -> str:
        return json.dumps(self.name, ensure_ascii=False)

    def __str__(self) -> str:
        deaf = "" if self.hears_files or not self.sound_shape else f" {DEAF}"
        return (
            f"With Earshot installed, from files to arrays:{deaf}\n\n{self.of_files()}\n\n"
            f"The towers alone, which take and give tensors:\n\n{self.of_tensors()}"
        )


def python_block(lines: Sequence[tuple[str, str]]) -> str:
    """Formats lines of Python, each with its remark, as a block in Markdown."""
    width = max((len(code) for code, remark in lines if remark), default=0)
    texts = [f"{code:<{width}}   # {remark}" if remark else code for code, remark in lines]
    return "\n".join(["```python", *texts, "```"])
