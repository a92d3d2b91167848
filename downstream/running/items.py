"""A labelled image of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SceneItem:
    """One labelled image.

    Attributes:
        key: path within the data set, such as "beach/beach_085.jpg".
        path: path of the file.
        label: index of the class.
    """

    key: str
    path: Path
    label: int
