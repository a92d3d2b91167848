"""Reporting of audiovisual scenes: one row per input, as in SoundingEarth's Table VI."""

from __future__ import annotations

from downstream.scores import F1, PRECISION, RECALL
from downstream.tables import Entry, Reporting, TableLayout

ENTRIES = (
    Entry("audiovisual", part="sound", modality="sound"),
    Entry("audiovisual", part="image", modality="image"),
    Entry("audiovisual", part="mean", modality="both", joined="mean"),
    Entry("audiovisual", part="concatenation", modality="both", joined="concatenation"),
)
"""Keys of an epoch's scores: the inputs of the classifiers."""


AUDIOVISUAL = Reporting(
    (
        F1.within("sound", "sound"),
        F1.within("image", "image"),
        F1.within("mean", "mean of both"),
        F1.within("concatenation", "both joined"),
    ),
    (
        TableLayout(
            "audiovisual",
            (PRECISION, RECALL, F1),
            "Logistic regression on frozen embeddings: means over classes weighted by their size, in percent.",
        ),
    ),
    lambda _: ENTRIES,
    details={"view": "{}"},
)
