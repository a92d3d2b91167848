"""Figures that papers published for the benchmarks, in percent, each with its source."""

from __future__ import annotations

from dataclasses import dataclass, field

SOUNDINGEARTH = "Heidler et al., Self-supervised Audiovisual Representation Learning for Remote Sensing Data (2021)"
ADVANCE_PAPER = "Hu et al., Cross-Task Transfer for Geotagged Audiovisual Aerial Scene Recognition (ECCV 2020)"

EPOCHS = (1, 2, 5)
"""After which SoundingEarth gives accuracies."""

RESNET18, RESNET50 = "resnet18", "resnet50"

BACKBONES = {
    RESNET18: "ResNet-18",
    RESNET50: "ResNet-50",
    "resnet101": "ResNet-101",
    "efficientnet-v2-s": "EfficientNetV2-S",
    "tile2vec-resnet18": "ResNet-18 (Tile2Vec)",
}
"""Our names of encoders, and the papers'."""


@dataclass(frozen=True)
class Published:
    """A row of a published table.

    Attributes:
        benchmark: our name of it.
        weights: as the paper calls them; its own are called SoundingEarth here.
        backbone: our name of it; the image tower's where there are two; empty where the paper's is none of ours.
        scores: in percent (`log_loss` in nats), by column: `accuracy_1` (after 1 epoch) … , `overall_accuracy`,
            `mean_iou`, `precision`, `recall`, `f1`, `accuracy`.
        source: paper and table.
        train_fraction: share of the items that trained; None where it was not published.
        sds: standard deviations, in percent, where the paper gives them.
        modality: "image", "sound" or "both", for benchmarks that have both.
        remark: what tells it apart from the row of ours that stands beside it.
        approach: the losses, or the strategy, by the paper's names, where it compares them.
        joined: what else its input is, such as the acoustic features.
        table: name of the report's table that it belongs to; empty for the first of its kind.
    """

    benchmark: str
    weights: str
    backbone: str
    scores: dict[str, float]
    source: str
    train_fraction: float | None
    sds: dict[str, float] = field(default_factory=dict)
    modality: str = ""
    remark: str = ""
    approach: str = ""
    joined: str = ""
    table: str = ""


SCENES: dict[str, tuple[str, dict[str, dict[str, tuple[float, float, float]]]]] = {
    "ucmerced": (
        "Table II",
        {
            RESNET18: {
                "Random": (12.10, 42.57, 45.81),
                "ImageNet": (46.29, 59.24, 82.10),
                "Tile2Vec": (38.67, 59.05, 74.38),
                "Contrastive": (39.90, 63.43, 80.95),
                "SimCLR": (58.95, 77.33, 88.48),
                "MoCo": (50.86, 67.05, 77.33),
                "SoundingEarth": (71.33, 85.81, 90.19),
            },
            RESNET50: {
                "Random": (9.24, 19.71, 44.95),
                "ImageNet": (24.29, 37.52, 80.19),
                "Contrastive": (39.81, 67.52, 84.57),
                "SimCLR": (56.48, 75.71, 85.43),
                "MoCo": (53.71, 64.29, 78.95),
                "SoundingEarth": (72.29, 87.24, 89.71),
            },
        },
    ),
    "resisc45": (
        "Table III",
        {
            RESNET18: {
                "Random": (31.21, 42.32, 57.65),
                "ImageNet": (69.83, 77.89, 83.76),
                "Tile2Vec": (52.44, 58.03, 69.73),
                "Contrastive": (59.41, 67.75, 81.49),
                "SimCLR": (69.77, 73.68, 80.36),
                "MoCo": (51.94, 64.09, 78.28),
                "SoundingEarth": (73.82, 76.30, 81.71),
            },
            RESNET50: {
                "Random": (25.96, 36.89, 42.48),
                "ImageNet": (68.49, 72.36, 83.06),
                "Contrastive": (63.55, 70.60, 81.34),
                "SimCLR": (68.14, 75.16, 80.69),
                "MoCo": (56.39, 64.70, 76.98),
                "SoundingEarth": (77.17, 79.82, 84.88),
            },
        },
    ),
    "aid": (
        "Table IV",
        {
            RESNET18: {
                "Random": (16.32, 34.04, 47.24),
                "ImageNet": (38.66, 53.12, 70.72),
                "Tile2Vec": (40.60, 52.22, 65.46),
                "Contrastive": (54.52, 64.94, 80.56),
                "SimCLR": (66.70, 75.94, 81.24),
                "MoCo": (57.64, 65.70, 81.02),
                "SoundingEarth": (67.62, 76.52, 81.78),
            },
            RESNET50: {
                "Random": (21.28, 26.82, 41.80),
                "ImageNet": (32.52, 40.64, 57.22),
                "Contrastive": (57.00, 67.76, 76.30),
                "SimCLR": (64.41, 72.94, 79.62),
                "MoCo": (55.32, 62.28, 82.42),
                "SoundingEarth": (71.90, 77.62, 84.44),
            },
        },
    ),
}
"""Accuracies after 1, 2 and 5 epochs, by benchmark, backbone and weights."""

LAND_COVER: dict[str, dict[str, tuple[float, float]]] = {
    RESNET18: {
        "Random": (81.09, 55.38),
        "ImageNet": (83.27, 61.95),
        "Tile2Vec": (80.50, 56.93),
        "Contrastive": (85.25, 64.85),
        "SimCLR": (85.65, 66.15),
        "MoCo": (84.79, 65.28),
        "SoundingEarth": (86.11, 67.07),
    },
    RESNET50: {
        "Random": (80.81, 54.42),
        "ImageNet": (82.27, 59.31),
        "Contrastive": (86.06, 68.46),
        "SimCLR": (83.80, 63.97),
        "MoCo": (85.07, 66.17),
        "SoundingEarth": (86.58, 67.87),
    },
}
"""Overall accuracy and mean IoU on DeepGlobe, by backbone and weights (Table V)."""

SEEN_AND_HEARD: tuple[tuple[str, str, str, tuple[float, float, float]], ...] = (
    ("sound", "SoundingEarth", RESNET18, (37.91, 38.36, 37.69)),
    ("image", "SoundingEarth", RESNET18, (87.09, 87.07, 86.92)),
    ("both", "SoundingEarth", RESNET18, (89.59, 89.52, 89.50)),
    ("sound", "SoundingEarth", RESNET50, (39.13, 39.96, 39.01)),
    ("image", "SoundingEarth", RESNET50, (83.97, 83.88, 83.84)),
    ("both", "SoundingEarth", RESNET50, (88.90, 88.85, 88.83)),
)
"""Precision, recall and F1 on ADVANCE, by input and backbone (Table VI)."""

CROSS_TASK: tuple[tuple[str, str, str, tuple[float, float, float], tuple[float, ...]], ...] = (
    ("sound", "Random, fine-tuned", "Table 2, L_s†", (21.15, 24.54, 21.32), (0.68, 0.67, 0.42)),
    ("image", "Random, fine-tuned", "Table 2, L_s†", (64.45, 64.59, 64.04), (0.97, 1.12, 1.07)),
    ("sound", "AudioSet, fine-tuned", "Table 2, L_s", (30.46, 32.99, 28.99), (0.66, 1.20, 0.51)),
    ("image", "AID, fine-tuned", "Table 2, L_s", (74.05, 72.79, 72.85), ()),
    ("sound", "AudioSet, with sound events", "Table 2, L_s + L_E", (31.14, 33.80, 29.66), (0.30, 1.03, 0.13)),
    ("image", "AID, with sound events", "Table 2, L_s + L_E", (73.97, 73.47, 73.44), (0.39, 0.52, 0.45)),
)
"""Precision, recall and F1 of ADVANCE's authors, by input, with standard deviations over 5 runs where they are legible.
Table 3 is left out: its networks saw no label of a scene."""

WHOLE_NETWORKS = "split by location; whole networks trained on the labels"

BASELINE_OF_BOTH = (75.25, 74.79, 74.58)
"""Precision, recall and F1 of ADVANCE's authors on image and sound, as SoundingEarth's Table VI gives them."""


def _scene_rows() -> list[Published]:
    return [
        Published(
            benchmark,
            weights,
            backbone,
            {f"accuracy_{epoch}": score for epoch, score in zip(EPOCHS, scores, strict=True)},
            f"{SOUNDINGEARTH}, {table}",
            0.5,
        )
        for benchmark, (table, backbones) in SCENES.items()
        for backbone, rows in backbones.items()
        for weights, scores in rows.items()
    ]


def _land_cover_rows() -> list[Published]:
    return [
        Published(
            "deepglobe",
            weights,
            backbone,
            dict(zip(("overall_accuracy", "mean_iou"), scores, strict=True)),
            f"{SOUNDINGEARTH}, Table V",
            None,
            remark="validation tiles not published",
        )
        for backbone, rows in LAND_COVER.items()
        for weights, scores in rows.items()
    ]


def _audiovisual_rows() -> list[Published]:
    rows = [
        _seen_and_heard(modality, weights, backbone, scores, f"{SOUNDINGEARTH}, Table VI", remark="split by clip")
        for modality, weights, backbone, scores in SEEN_AND_HEARD
    ]
    rows += [
        _seen_and_heard(modality, weights, "", scores, f"{ADVANCE_PAPER}, {table}", sds=sds, remark=WHOLE_NETWORKS)
        for modality, weights, table, scores, sds in CROSS_TASK
    ]
    source = f"{ADVANCE_PAPER}, as in {SOUNDINGEARTH}, Table VI"
    name = "AID + AudioSet, with sound events"
    return [*rows, _seen_and_heard("both", name, "", BASELINE_OF_BOTH, source, remark=WHOLE_NETWORKS)]


def _seen_and_heard(
    modality: str,
    weights: str,
    backbone: str,
    scores: tuple[float, ...],
    source: str,
    *,
    remark: str,
    sds: tuple[float, ...] = (),
) -> Published:
    columns = ("precision", "recall", "f1")
    return Published(
        "advance",
        weights,
        backbone,
        dict(zip(columns, scores, strict=True)),
        source,
        0.7,
        sds=dict(zip(columns, sds, strict=False)),
        modality=modality,
        remark=remark,
    )


PUBLISHED: tuple[Published, ...] = (*_scene_rows(), *_land_cover_rows(), *_audiovisual_rows())
"""All of them, in the order of the papers' tables."""
