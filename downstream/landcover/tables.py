"""How land-cover mapping reports: overall accuracy and mean IoU, as in SoundingEarth's Table V."""

from __future__ import annotations

from downstream.scores import MEAN_IOU, OVERALL_ACCURACY
from downstream.tables import Reporting, TableLayout

SCORES = (OVERALL_ACCURACY, MEAN_IOU)

LAND_COVER = Reporting(
    SCORES,
    (
        TableLayout(
            "landcover",
            SCORES,
            "Overall accuracy (OA, the mean of the tiles' accuracies) and mean intersection over union over the "
            "classes (mIoU) after the last epoch, in percent.",
        ),
    ),
    details={"patch_stride": ""},
    names_head=False,
    exhibits=(
        "downstream.landcover.exhibits:maps_side_by_side",
        "downstream.running.confusion_exhibit:confusions_of_runs",
    ),
)
