"""Figures that Chen et al. (2022) published for TAU Urban Audio-Visual Scenes 2021, each with its table."""

from __future__ import annotations

from downstream.reporting.published import Published
from downstream.tables import TableLayout
from downstream.tau import tables
from downstream.tau.tables import ABLATION, FEATURES, FUSIONS

PAPER = (
    "Chen et al., Audio-Visual Scene Classification Using a Transfer Learning Based Joint Optimization Strategy (2022)"
)

WEIGHTS = "ImageNet + Places365"
EFFICIENTNET, RESNET50 = "efficientnet-v2-s", "resnet50"
FOLDS = "official folds; about 10% of the training fold to choose by"
OF_REPORTS = "the best single system of a report on DCASE 2021, numbered as in the paper's references"
TRAIN_FRACTION = 8646 / (8646 + 3645)

SINGLE: tuple[tuple[str, str, str, float, float], ...] = (
    ("sound", "fbank", "", 0.6968, 76.08),
    ("sound", "scalogram", "", 0.6325, 77.98),
    ("image", "", RESNET50, 0.3939, 87.03),
    ("image", "", EFFICIENTNET, 0.2731, 90.91),
)
"""Table 2: modality, features, backbone, log loss and accuracy."""

BOTH: tuple[tuple[str, str, str, float, float], ...] = (
    ("pipeline", "fbank", RESNET50, 0.3808, 88.87),
    ("pipeline", "fbank", EFFICIENTNET, 0.2146, 92.84),
    ("pipeline", "scalogram", RESNET50, 0.3506, 89.29),
    ("pipeline", "scalogram", EFFICIENTNET, 0.2055, 93.14),
    ("joint", "fbank", RESNET50, 0.2664, 91.13),
    ("joint", "fbank", EFFICIENTNET, 0.1788, 93.45),
    ("joint", "scalogram", RESNET50, 0.2495, 91.55),
    ("joint", "scalogram", EFFICIENTNET, 0.1517, 94.59),
)
"""Table 3: strategy, features, backbone, log loss and accuracy."""

ABLATED: tuple[tuple[str, float, float], ...] = (
    ("pipeline", 0.2055, 93.14),
    ("pipeline-trainable", 0.2144, 92.39),
    ("joint-pretrained", 0.1591, 94.31),
    ("joint", 0.1517, 94.59),
)
"""Table 4: strategy, log loss and accuracy, of scalogram and EfficientNetV2-S."""

SYSTEMS: tuple[tuple[str, str, str, str, float, float], ...] = (
    ("official baseline [21]", "pipeline", "", "", 0.658, 77.0),
    ("Wang et al. [14]", "pipeline", "", "", 0.159, 94.1),
    ("Wang et al. [15]", "pipeline", "", "", 0.183, 93.8),
    ("Yang et al. [28]", "pipeline", "", "", 0.223, 93.9),
    (WEIGHTS, "joint", "scalogram", EFFICIENTNET, 0.152, 94.6),
)
"""Table 5: system, by its number among the paper's references, or weights of the paper's own; strategy, features,
backbone, log loss and accuracy. The last is that of Table 3, rounded."""


def _published(
    source: str,
    table: TableLayout,
    scores: tuple[float, float],
    *,
    modality: str,
    features: str,
    backbone: str,
    approach: str = "",
    system: str = "",
) -> Published:
    of_others = bool(system) and system != WEIGHTS
    return Published(
        "tau-scenes",
        system or (WEIGHTS if backbone else "–"),
        backbone,
        dict(zip(("log_loss", "accuracy"), scores, strict=True)),
        f"{PAPER}, {source}",
        None if of_others else TRAIN_FRACTION,
        modality=modality,
        remark=OF_REPORTS if of_others else FOLDS,
        approach=approach,
        joined=FEATURES.get(features, ""),
        table=table.name,
    )


PUBLISHED_TAU: tuple[Published, ...] = (
    *(
        _published("Table 2", tables.SINGLE, (loss, accuracy), modality=modality, features=features, backbone=backbone)
        for modality, features, backbone, loss, accuracy in SINGLE
    ),
    *(
        _published(
            "Table 3",
            tables.BOTH,
            (loss, accuracy),
            modality="both",
            features=features,
            backbone=backbone,
            approach=FUSIONS[strategy],
        )
        for strategy, features, backbone, loss, accuracy in BOTH
    ),
    *(
        _published(
            "Table 4",
            tables.ABLATED,
            (loss, accuracy),
            modality="both",
            features="scalogram",
            backbone=EFFICIENTNET,
            approach=ABLATION[strategy],
        )
        for strategy, loss, accuracy in ABLATED
    ),
    *(
        _published(
            "Table 5",
            tables.SYSTEMS,
            (loss, accuracy),
            modality="both",
            features=features,
            backbone=backbone,
            approach=FUSIONS[strategy],
            system=system,
        )
        for system, strategy, features, backbone, loss, accuracy in SYSTEMS
    ),
)
"""All of them, in the order of the paper's tables; its filter bank is not defined in it."""
