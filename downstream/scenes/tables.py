"""Tables of scene recognition: accuracy by epoch as in SoundingEarth's tables, and a table of the other protocols."""

from __future__ import annotations

from downstream.results import Results
from downstream.scores import ACCURACY, F1, PRECISION, RECALL
from downstream.tables import Entry, Reporting, TableLayout

PAPER = TableLayout(
    "paper",
    (ACCURACY,),
    "Accuracy on the test split by epochs of fine-tuning, in percent (protocol paper).",
    by_epoch=True,
)
OTHERS = TableLayout(
    "others",
    (ACCURACY,),
    "Accuracy on the test split under the other protocols, in percent; mean ± standard deviation over splits.",
    title="other protocols",
)


def _entries(results: Results) -> list[Entry]:
    return [Entry((PAPER if results.protocol == "paper" else OTHERS).name)]


SCENES = Reporting(
    (ACCURACY, PRECISION, RECALL, F1),
    (PAPER, OTHERS),
    _entries,
    exhibits=(
        "downstream.running.map_exhibits:maps_by_weights",
        "downstream.running.confusion_exhibit:confusions_of_runs",
    ),
)
