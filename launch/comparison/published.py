"""Table VII of the paper: its ablation of the loss, by method, backbone and benchmark."""

from __future__ import annotations

from dataclasses import replace

from downstream.reporting.published import RESNET18, RESNET50, SOUNDINGEARTH
from downstream.scores import ACCURACY, F1, MEAN_IOU, OVERALL_ACCURACY
from launch.comparison.outcomes import RETRIEVAL
from pretrain.ranking.scores import DIRECTIONS, MEDIAN_RANK, RECALLS
from pretrain.scores import COUNT, Score

SOURCE = f"{SOUNDINGEARTH}, Table VII"

SCORES: tuple[tuple[str, Score], ...] = (
    ("ucmerced", ACCURACY),
    ("resisc45", ACCURACY),
    ("aid", ACCURACY),
    ("deepglobe", OVERALL_ACCURACY),
    ("deepglobe", MEAN_IOU),
    ("advance", F1.within("both", "image + sound")),
    (RETRIEVAL, RECALLS[100].within("image_to_sound", DIRECTIONS["image_to_sound"])),
    # Published medians are whole ranks.
    (RETRIEVAL, replace(MEDIAN_RANK, unit=COUNT).within("image_to_sound", DIRECTIONS["image_to_sound"])),
)
"""The columns of `TABLE_VII`: benchmark and score; retrieval ranks about 10,000 test pairs."""

TABLE_VII: dict[str, dict[str, tuple[float, ...]]] = {
    "naive-triplet": {
        RESNET18: (85.14, 76.11, 78.70, 83.96, 63.14, 88.51, 18.59, 749),
        RESNET50: (77.43, 72.15, 75.64, 85.40, 65.18, 87.61, 13.41, 951),
    },
    "contrastive": {
        RESNET18: (86.48, 80.65, 77.18, 80.72, 57.26, 79.42, 29.12, 565),
        RESNET50: (88.19, 82.41, 81.08, 85.96, 67.28, 80.84, 28.35, 580),
    },
    "batch-triplet": {
        RESNET18: (90.19, 81.71, 81.78, 86.11, 67.07, 89.46, 19.01, 744),
        RESNET50: (89.71, 84.88, 84.44, 86.58, 67.87, 88.83, 15.28, 836),
    },
}
"""Method and backbone → scores in the order of `SCORES`; percentages, and the median rank."""
