"""Exhibits: pictures of the report that set several runs side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from downstream.results import Results


@dataclass(frozen=True)
class ShownRun:
    """A run as an exhibit shows it.

    Attributes:
        folder: of its results.
        results: its results.
        weights: name of its weights in the report.
        backbone: name of its encoder in the report, or empty.
    """

    folder: Path
    results: Results
    weights: str
    backbone: str = ""


@dataclass(frozen=True)
class Exhibit:
    """A picture of the report.

    Attributes:
        name: of its file, without the suffix.
        title: above it.
        caption: below the title, and its text for those who don't see it.
        png: the picture.
    """

    name: str
    title: str
    caption: str
    png: bytes
