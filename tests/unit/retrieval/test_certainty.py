"""What intervals say in words: figures that are not better than chance, or worse, and too few queries."""

from __future__ import annotations

from typing import Any

from pretrain.ranking import chance_metrics
from retrieval.certainty import certainty_lines


def metrics_with(
    of_images: dict[str, list[float]], of_sounds: dict[str, list[float]], units: int = 100
) -> dict[str, Any]:
    """An evaluation of 100 pairs, of which only the intervals matter."""
    intervals = {"unit": "query", "num_units": units, "image_to_sound": of_images, "sound_to_image": of_sounds}
    return {"chance": chance_metrics(100), "intervals": intervals}


GOOD = {"recall_at_1": [0.1, 0.3], "recall_at_10": [0.3, 0.5], "recall_at_100": [1.0, 1.0], "median_rank": [9.0, 20.0]}


def test_nothing_is_said_where_all_is_better_than_chance() -> None:
    """Recall at 100 of 100 is 1 for every model, and no figure of this one."""
    assert certainty_lines(metrics_with(GOOD, GOOD)) == []


def test_figures_whose_interval_holds_chance_are_named() -> None:
    """Chance is 0.01, 0.1 and 50.5."""
    lines = certainty_lines(metrics_with(GOOD | {"recall_at_1": [0.0, 0.03], "recall_at_10": [0.1, 0.2]}, GOOD))
    assert lines == ["image → sound: Recall@1 and Recall@10 are not better than chance at the 95 % level"]
    lines = certainty_lines(metrics_with(GOOD, GOOD | {"median_rank": [40.0, 50.5]}))
    assert lines == ["sound → image: Median rank is not better than chance at the 95 % level"]


def test_all_figures_at_chance_are_said_at_once() -> None:
    at_chance = {"recall_at_1": [0.0, 0.03], "recall_at_10": [0.05, 0.2], "median_rank": [45.0, 56.0]}
    lines = certainty_lines(metrics_with(at_chance, GOOD))
    assert lines == ["image → sound: no figure is better than chance at the 95 % level"]


def test_worse_than_chance_is_a_lower_recall_or_a_higher_rank() -> None:
    lines = certainty_lines(metrics_with(GOOD | {"recall_at_10": [0.02, 0.09], "median_rank": [51.0, 60.0]}, GOOD))
    assert lines == ["image → sound: Recall@10 and Median rank are worse than chance at the 95 % level"]


def test_mrr_is_compared_as_recalls_are_although_it_is_no_percentage() -> None:
    """Chance is 0.052."""
    lines = certainty_lines(metrics_with(GOOD | {"mrr": [0.2, 0.3]}, GOOD | {"mrr": [0.01, 0.04]}))
    assert lines == ["sound → image: MRR is worse than chance at the 95 % level"]


def test_fewer_than_30_queries_or_recordings_are_warned_of() -> None:
    assert certainty_lines(metrics_with(GOOD, GOOD, 30)) == []
    words = "fewer than 30: the figures and their intervals say little"
    assert certainty_lines(metrics_with(GOOD, GOOD, 29)) == [f"only 29 queries, {words}"]
    metrics = metrics_with(GOOD, GOOD, 29)
    metrics["intervals"]["unit"] = "recording"
    assert certainty_lines(metrics) == [f"only 29 recordings, {words}"]


def test_evaluations_without_intervals_say_nothing() -> None:
    assert certainty_lines({"chance": chance_metrics(100)}) == []


def test_a_model_that_ranks_no_better_than_its_labels_is_said_to() -> None:
    metrics = metrics_with(GOOD, GOOD) | {"label_only": {"median_rank": 16.0}}
    metrics |= {"image_to_sound": {"median_rank": 15.5}, "sound_to_image": {"median_rank": 16.0}}
    words = "sound → image: knowing the label alone would rank as well (median rank 16.0, the model's 16.0)"
    assert certainty_lines(metrics) == [words]


def test_recalls_over_most_of_the_gallery_are_not_compared_with_chance() -> None:
    recall = {"recall_at_10": [0.6, 0.9]}
    metrics = metrics_with(recall, recall)
    metrics["chance"] = chance_metrics(12)
    assert metrics["chance"]["recall_at_10"] > 0.8
    assert certainty_lines(metrics) == []
