"""The scores of cross-modal ranking, each declared once, and what the two directions are called."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict  # pydantic takes that of Python 3.12 or this one

from pretrain.scores import FRACTION, KILOMETRES, RANK, Score
from shards.records import Count, Finite

DIRECTIONS = {"image_to_sound": "image → sound", "sound_to_image": "sound → image"}
"""From query to gallery: key in `metrics.json`, and words."""

RECALLS = {k: Score(f"recall_at_{k}", f"Recall@{k}") for k in (1, 5, 10, 100)}
LARGE_RECALLS = {k: Score(f"recall_at_{k}", f"Recall@{k}") for k in (500, 1000)}
"""Left out where k exceeds the gallery."""
KM_AT = {k: Score(f"km_at_{k}", f"D@{k}", KILOMETRES, "lower") for k in (100, 1000)}
"""Mean great-circle distance from the true place to the nearest of the top k; left out where k exceeds the gallery, or
where a pair has no place."""
RECALL_AT_10_PERCENT = Score("recall_at_10_percent", "Recall@10 %")
"""k is a tenth of the gallery, rounded up."""
MEDIAN_RANK = Score("median_rank", "Median rank", RANK, "lower")
MEAN_RANK = Score("mean_rank", "Mean rank", RANK, "lower")
MRR = Score("mrr", "MRR", FRACTION)
"""The mean of 1 / rank."""

NDCG_AT_10 = Score("ndcg_at_10", "nDCG@10", FRACTION)
"""Of the protocol mteb alone."""


INTERVALS = "intervals"
"""Key of the 95 % intervals of scores, in `metrics.json` and in the validations of `metrics.jsonl`."""


class Intervals(TypedDict):
    """95 % intervals in `metrics.json`: of each direction, by the key of the score, the lower and the upper bound."""

    level: Finite
    unit: str
    num_units: Count
    image_to_sound: dict[str, Annotated[list[Finite], Field(min_length=2, max_length=2)]]
    sound_to_image: dict[str, Annotated[list[Finite], Field(min_length=2, max_length=2)]]
