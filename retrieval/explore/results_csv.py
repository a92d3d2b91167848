"""The nearest pairs of a query as CSV, in a link that needs no further request."""

from __future__ import annotations

import base64
import math

import numpy as np
from numpy.typing import NDArray

from retrieval.explore.questions import Question, Questioner
from retrieval.pair_metadata import readable_metadata, text_of
from shards.csv_text import csv_text

NUM_ROWS = 100
COLUMNS = (
    *("rank", "key", "split", "distance", "is_query", "label", "title", "creator", "licence", "longitude", "latitude"),
)


def results_csv(
    questioner: Questioner, question: Question, numbers: NDArray[np.int64], distances: NDArray[np.float64]
) -> str:
    """A row for each result, nearest first, with `COLUMNS`; text that a spreadsheet would run is made harmless.

    Args:
        questioner: holds the atlas.
        question: the query; `is_query` says which row is the pair that it was taken from.
        numbers: (k,) numbers of the pairs.
        distances: (k,) their distances to the query.
    """
    atlas = questioner.atlas
    rows: list[tuple[object, ...]] = []
    for rank, (number, distance) in enumerate(zip(numbers.tolist(), distances.tolist(), strict=True), start=1):
        with questioner.lock:
            sample = atlas.sample(number)
            metadata = readable_metadata(sample) or {}
        label = int(atlas.labels[number])
        longitude, latitude = (
            None if math.isnan(degrees) else round(float(degrees), 5) for degrees in atlas.places[number]
        )
        rows.append(
            (
                *(rank, sample.key, atlas.numbers.within_split(number)[0], f"{distance:.6g}"),
                *(int(number == question.number), "" if label < 0 else atlas.label_names[label]),
                *(text_of(metadata, name) for name in ("title", "creator", "licence")),
                *(longitude, latitude),
            )
        )
    return csv_text(COLUMNS, rows)


def csv_link(text: str) -> str:
    """The file as a data URI."""
    return f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text.encode()).decode('ascii')}"
