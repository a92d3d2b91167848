"""A sample of a foreign set: its key, the contents of its image and its sound, and its fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Content:
    """An image or a sound.

    Attributes:
        data: the content of its file, or the file itself.
        suffix: of such files, with its dot.
    """

    data: bytes | Path
    suffix: str


@dataclass(frozen=True)
class ForeignSample:
    """A sample as it was read.

    Attributes:
        key: as the set has it.
        image, sound: None if it has none that can be used.
        fields: its metadata, as text on one line each.
        reason, detail: why it is no pair, "" if nothing is known against it.
    """

    key: str
    image: Content | None
    sound: Content | None
    fields: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class PackedFile:
    """A tar or a Parquet file of a foreign set.

    Attributes:
        name: where it is: a path or a URL.
        shown: how messages and the manifest name it, without folder, passwords and signatures.
        split: the split that its name says, None if it says none.
        bytes: its size, None if unknown.
    """

    name: str
    shown: str
    split: str | None
    bytes: int | None
