"""How the transfer of sound events reports: by approach, as in Hu et al.'s Tables 2 and 3, and its taggers apart."""

from __future__ import annotations

from downstream.results import Results
from downstream.scores import ACCURACY, F1, MEAN_AVERAGE_PRECISION, PRECISION, RECALL
from downstream.tables import Entry, Reporting, TableLayout
from downstream.transfer.settings import APPROACHES

DETAILS = {
    "approach": "",
    "modality": "",
    "sound_weights": "sound encoder {}",
    "teacher": "teacher {}",
    "sound_stride": "",
    "alpha": "",
    "beta": "",
    "over_events": "transfer loss as {} over events",
    "num_frames": "",
}


def _entries(results: Results) -> list[Entry]:
    return [Entry("transfer", modality=results.detail("modality"), approach=results.detail("approach"))]


TRANSFER = Reporting(
    (ACCURACY, PRECISION, RECALL, F1),
    (
        TableLayout(
            "transfer",
            (PRECISION, RECALL, F1),
            "Whole networks trained on the scenes' labels, on sound events, or on both: means over classes weighted "
            "by their size, in percent.",
            order=("modality", "approach", "origin", "backbone", "name"),
            approaches=APPROACHES,
            is_drawn=True,
        ),
    ),
    _entries,
    DETAILS,
    exhibits=(
        "downstream.running.map_exhibits:maps_by_approach",
        "downstream.running.confusion_exhibit:confusions_of_runs",
    ),
)

SOUND_EVENTS = Reporting(
    (MEAN_AVERAGE_PRECISION, ACCURACY, PRECISION, RECALL, F1),
    (
        TableLayout(
            "events",
            (MEAN_AVERAGE_PRECISION, ACCURACY),
            "Sound events: the mean over events of their average precision (mAP), and how often the most probable "
            "event is right, on the test split, in percent.",
        ),
    ),
    details=DETAILS,
)
