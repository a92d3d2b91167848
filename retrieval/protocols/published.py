"""What was published of a protocol: sizes of its galleries, and figures of models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class PublishedScores:
    """Figures of a model.

    Attributes:
        model: its name.
        direction: "image_to_sound" or "sound_to_image", from query to gallery.
        scores: as in `metrics.json`; recalls are fractions.
        note: what to know of them.
    """

    model: str
    direction: str
    scores: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True)
class Published:
    """What was published.

    Attributes:
        source: authors, year and table.
        gallery_sizes: pairs of each split.
        figures: of models, on split test.
    """

    source: str
    gallery_sizes: Mapping[str, int] = field(default_factory=dict)
    figures: tuple[PublishedScores, ...] = ()

    def beside(self, split: str, gallery_size: int) -> dict[str, Any]:
        """What stands beside the figures of a gallery in `metrics.json`."""
        size = self.gallery_sizes.get(split)
        return {
            "source": self.source,
            "gallery_size": size,
            "gallery_differs": None if size in (None, gallery_size) else self._difference(size, gallery_size),
            "figures": [{**asdict(entry), "scores": dict(entry.scores)} for entry in self.figures],
        }

    @staticmethod
    def _difference(published: int | None, gallery_size: int) -> str:
        relation = "smaller" if gallery_size < (published or 0) else "larger"
        return (
            f"this gallery has {gallery_size:,} pairs and the published one {published:,}; ranks in a {relation} "
            "gallery are not comparable with the published figures"
        )
