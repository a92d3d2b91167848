"""The gap between the modalities of an atlas: how far apart images and sounds lie, beside how far each spreads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_ROWS = 100_000
"""Maximum number of evenly spaced pairs that are measured."""
SMALL, LARGE = 0.25, 1.0
"""Ratios of gap and spread, up to which images and sounds are mixed, and from which they are apart."""


@dataclass(frozen=True)
class ModalityGap:
    """The gap between images and sounds (Liang et al., Mind the Gap, NeurIPS 2022).

    Attributes:
        distance: Euclidean distance between the mean image embedding and the mean sound embedding.
        spread: root mean square distance of embeddings to the mean of their modality, over both modalities.
    """

    distance: float
    spread: float

    @classmethod
    def of(cls, images: NDArray[np.float32], sounds: NDArray[np.float32]) -> ModalityGap:
        """Measures embeddings of images and sounds, (n, d) each, n > 0."""
        parts = [np.asarray(part[:: -(-len(part) // MOST_ROWS)], np.float64) for part in (images, sounds)]
        centres = [part.mean(axis=0) for part in parts]
        variances = [np.square(part - centre).sum(axis=1).mean() for part, centre in zip(parts, centres, strict=True)]
        return cls(float(np.linalg.norm(centres[0] - centres[1])), float(np.sqrt(np.mean(variances))))

    def describe(self) -> str:
        """The gap in two sentences."""
        if self.spread == 0:
            return "All embeddings of a modality are the same point: the weights have collapsed."
        ratio = self.distance / self.spread
        measured = (
            f"the means of images and sounds are {self.distance:.3g} apart, {ratio:.2f} times the spread within a "
            f"modality ({self.spread:.3g})"
        )
        if ratio <= SMALL:
            return f"Images and sounds share one region of the embedding: {measured}."
        if ratio < LARGE:
            return f"Images and sounds lie beside each other and overlap: {measured}."
        return (
            f"There is a gap between the modalities: {measured}. Images and sounds form two clouds, so distances "
            "between an image and a sound compare only with other such distances."
        )
