"""Corpora of geotagged sounds and overhead images as published: Table I of SoundingEarth, and its statistics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedCorpus:
    """A row of Table I (Heidler et al., arXiv 2108.00688).

    Attributes:
        name: of the corpus.
        sounds_from: where the sounds come from.
        duration: as the table states it.
        content: what the recordings hold, as the table states it.
        images_from: where the images come from.
        pairs: count of image and sound pairs.
    """

    name: str
    sounds_from: str
    duration: str
    content: str
    images_from: str
    pairs: int


TABLE_I = (
    PublishedCorpus("CVS", "Freesound", "–", "unspecified", "Bing Maps", 23_308),
    PublishedCorpus("ADVANCE", "Freesound", "about 14 h", "unspecified", "Google Earth", 5_075),
    PublishedCorpus(
        "SoundingEarth", "Radio Aporee ::: Maps", "about 3,500 h", "field recordings", "Google Earth", 50_545
    ),
)

SOUNDINGEARTH_COUNTRIES = 136
SOUNDINGEARTH_HOURS = 3_500
SOUNDINGEARTH_MEDIAN_MINUTES = 3
SOUNDINGEARTH_LONGEST_PERCENT_MINUTES = 30
"""Section III: as of June 2020; the longest 1 % of the recordings exceed half an hour."""
