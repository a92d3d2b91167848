"""Every figure of the papers' tables, typed a second time from their text and compared with ours one by one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from downstream.reporting.published import PUBLISHED, Published
from downstream.reporting.published_tau import PUBLISHED_TAU
from downstream.reporting.published_transfer import PUBLISHED_TRANSFER
from launch.comparison.published import SCORES, TABLE_VII

ROOT = Path(__file__).parents[4]

# SoundingEarth, Tables II to IV: after 1, 2 and 5 epochs; ResNet-18 in seven rows, then ResNet-50 without Tile2Vec.
TABLE_2 = """
Random       12.10 42.57 45.81
ImageNet     46.29 59.24 82.10
Tile2Vec     38.67 59.05 74.38
Contrastive  39.90 63.43 80.95
SimCLR       58.95 77.33 88.48
MoCo         50.86 67.05 77.33
Ours         71.33 85.81 90.19
Random        9.24 19.71 44.95
ImageNet     24.29 37.52 80.19
Contrastive  39.81 67.52 84.57
SimCLR       56.48 75.71 85.43
MoCo         53.71 64.29 78.95
Ours         72.29 87.24 89.71
"""
TABLE_3 = """
Random       31.21 42.32 57.65
ImageNet     69.83 77.89 83.76
Tile2Vec     52.44 58.03 69.73
Contrastive  59.41 67.75 81.49
SimCLR       69.77 73.68 80.36
MoCo         51.94 64.09 78.28
Ours         73.82 76.30 81.71
Random       25.96 36.89 42.48
ImageNet     68.49 72.36 83.06
Contrastive  63.55 70.60 81.34
SimCLR       68.14 75.16 80.69
MoCo         56.39 64.70 76.98
Ours         77.17 79.82 84.88
"""
TABLE_4 = """
Random       16.32 34.04 47.24
ImageNet     38.66 53.12 70.72
Tile2Vec     40.60 52.22 65.46
Contrastive  54.52 64.94 80.56
SimCLR       66.70 75.94 81.24
MoCo         57.64 65.70 81.02
Ours         67.62 76.52 81.78
Random       21.28 26.82 41.80
ImageNet     32.52 40.64 57.22
Contrastive  57.00 67.76 76.30
SimCLR       64.41 72.94 79.62
MoCo         55.32 62.28 82.42
Ours         71.90 77.62 84.44
"""
# Table V: OA and mIoU of ResNet-18, then of ResNet-50.
TABLE_5 = """
Random       81.09 55.38 80.81 54.42
ImageNet     83.27 61.95 82.27 59.31
Tile2Vec     80.50 56.93
Contrastive  85.25 64.85 86.06 68.46
SimCLR       85.65 66.15 83.80 63.97
MoCo         84.79 65.28 85.07 66.17
Ours         86.11 67.07 86.58 67.87
"""
# Table VI: precision, recall, F1. The baselines are those of ADVANCE's authors.
TABLE_6_BASELINES = """
sound 30.46 32.99 28.99
image 74.05 72.79 72.85
both  75.25 74.79 74.58
"""
TABLE_6 = """
resnet18 sound 37.91 38.36 37.69
resnet18 image 87.09 87.07 86.92
resnet18 both  89.59 89.52 89.50
resnet50 sound 39.13 39.96 39.01
resnet50 image 83.97 83.88 83.84
resnet50 both  88.90 88.85 88.83
"""
# Table VII, row by row: naive, contrastive and batch triplet loss, ResNet-18 and -50 each. The slides print its first
# figure as 5.14, without the 8.
TABLE_7 = """
ucmerced  accuracy         85.14 77.43 86.48 88.19 90.19 89.71
resisc45  accuracy         76.11 72.15 80.65 82.41 81.71 84.88
aid       accuracy         78.70 75.64 77.18 81.08 81.78 84.44
deepglobe overall_accuracy 83.96 85.40 80.72 85.96 86.11 86.58
deepglobe mean_iou         63.14 65.18 57.26 67.28 67.07 67.87
advance   both/f1          88.51 87.61 79.42 80.84 89.46 88.83
retrieval image_to_sound/recall_at_100 18.59 13.41 29.12 28.35 19.01 15.28
retrieval image_to_sound/median_rank   749 951 565 580 744 836
"""

# ADVANCE, Table 2: precision, recall, F-score with deviations. Its text has lost parts of the columns of L_s and L_SQ:
# the first digits of the means of L_SQ stand apart (3, 3 and 2 for sounds) or are missing (images: only 7 agrees with
# section 5.2, where every transfer helps), and L_s has no deviations for images.
ADVANCE_2 = """
sound L_s†               21.15 0.68 24.54 0.67 21.32 0.42
sound L_s                30.46 0.66 32.99 1.20 28.99 0.51
sound L_s + L_SQ (N_v+a) 31.64 0.65 34.68 0.49 29.31 0.71
sound L_s + L_KL (N_v+a) 30.00 0.86 34.29 0.35 28.51 0.99
sound L_s + L_E          31.14 0.30 33.80 1.03 29.66 0.13
image L_s†               64.45 0.97 64.59 1.12 64.04 1.07
image L_s                74.05 72.79 72.85
image L_s + L_SQ (N_v+a) 74.86 0.94 74.11 0.89 73.98 0.92
image L_s + L_KL (N_v+a) 74.36 0.85 73.40 0.84 73.52 0.85
image L_s + L_E          73.97 0.39 73.47 0.52 73.44 0.45
"""
# ADVANCE, Table 3.
ADVANCE_3 = """
both L_E1 alone         43.37 0.59 49.26 0.36 42.50 0.42
both L_E alone          54.23 1.14 52.57 0.72 48.65 0.85
both L_KL (N_v+a) alone  3.08 0.14  9.69 0.43  4.46 0.20
both L_SQ (N_v+a) alone  2.95 0.07  9.28 0.17  4.24 0.07
"""
# ADVANCE, section 5.2: the F-score of image and sound under L_s.
ADVANCE_BOTH_F1 = 72.71

# Chen et al., Tables 2 to 5: log loss and accuracy.
TAU_2 = """
sound FBank      -                 0.6968 76.08
sound scalogram  -                 0.6325 77.98
image -          resnet50          0.3939 87.03
image -          efficientnet-v2-s 0.2731 90.91
"""
TAU_3 = """
Pipeline FBank     resnet50          0.3808 88.87
Pipeline FBank     efficientnet-v2-s 0.2146 92.84
Pipeline scalogram resnet50          0.3506 89.29
Pipeline scalogram efficientnet-v2-s 0.2055 93.14
Joint    FBank     resnet50          0.2664 91.13
Joint    FBank     efficientnet-v2-s 0.1788 93.45
Joint    scalogram resnet50          0.2495 91.55
Joint    scalogram efficientnet-v2-s 0.1517 94.59
"""
# Its heads name the columns the wrong way round: raw or embedded is the image, trained or not the sound encoder.
TAU_4 = """
I: embedding, pre-trained   0.2055 93.14
II: embedding, trainable    0.2144 92.39
III: raw image, pre-trained 0.1591 94.31
IV: raw image, trainable    0.1517 94.59
"""
TAU_5 = """
Pipeline official baseline [21] 0.658 77.0
Pipeline Wang et al. [14]       0.159 94.1
Pipeline Wang et al. [15]       0.183 93.8
Pipeline Yang et al. [28]       0.223 93.9
Joint    ImageNet + Places365   0.152 94.6
"""

Key = tuple[Any, ...]


def parsed(table: str) -> list[tuple[list[str], list[float]]]:
    """The words and the figures of each line."""
    lines = []
    for line in table.strip().splitlines():
        words = line.split()
        first = next(i for i in range(len(words)) if all(word.replace(".", "").isdigit() for word in words[i:]))
        lines.append((words[:first], [float(word) for word in words[first:]]))
    return lines


def ours_of(rows: Iterable[Published], source: str) -> Counter[Key]:
    """The rows of a table of the source, without what papers don't print."""
    return Counter(
        (
            *(row.benchmark, row.weights, row.backbone, row.modality, row.approach, row.joined),
            *row.scores.items(),
            *(("sd", name, sd) for name, sd in row.sds.items()),
        )
        for row in rows
        if row.source.endswith(f", {source}") and "as in" not in row.source
    )


def own(name: str) -> str:
    return "SoundingEarth" if name == "Ours" else name


SOUNDINGEARTH = [row for row in PUBLISHED if row.source.startswith("Heidler")]
ADVANCE = [row for row in PUBLISHED if row.source.startswith("Hu")]


@pytest.mark.parametrize(
    ("benchmark", "number", "table"),
    [("ucmerced", "II", TABLE_2), ("resisc45", "III", TABLE_3), ("aid", "IV", TABLE_4)],
)
def test_accuracies_on_scenes(benchmark: str, number: str, table: str) -> None:
    lines = parsed(table)
    assert [len(lines), sum(len(figures) for _, figures in lines)] == [13, 39]
    typed = Counter(
        (
            *(benchmark, own(weights), "resnet18" if place < 7 else "resnet50", "", "", ""),
            *((f"accuracy_{epoch}", score) for epoch, score in zip((1, 2, 5), scores, strict=True)),
        )
        for place, ((weights,), scores) in enumerate(lines)
    )
    assert ours_of(SOUNDINGEARTH, f"Table {number}") == typed


def test_land_cover() -> None:
    typed = Counter(
        ("deepglobe", own(weights), backbone, "", "", "", ("overall_accuracy", oa), ("mean_iou", iou))
        for (weights,), scores in parsed(TABLE_5)
        for backbone, oa, iou in zip(("resnet18", "resnet50"), scores[::2], scores[1::2], strict=False)
    )
    assert typed.total() == 13
    assert ours_of(SOUNDINGEARTH, "Table V") == typed


def test_images_and_sounds_of_advance() -> None:
    names = ("precision", "recall", "f1")
    typed = Counter(
        ("advance", "SoundingEarth", backbone, modality, "", "", *zip(names, scores, strict=True))
        for (backbone, modality), scores in parsed(TABLE_6)
    )
    assert typed.total() == 6
    assert ours_of(SOUNDINGEARTH, "Table VI") == typed
    for (modality,), scores in parsed(TABLE_6_BASELINES):
        expected = dict(zip(names, scores, strict=True))
        for rows in (PUBLISHED, PUBLISHED_TRANSFER):
            # Those of one modality are ADVANCE's own; that of both stands in SoundingEarth's table alone.
            assert [row.scores for row in rows if _is_baseline(row, modality)] == [expected]


def _is_baseline(row: Published, modality: str) -> bool:
    if modality == "both":
        return "as in Heidler" in row.source
    # ADVANCE's classifiers name the loss in their source, its transfer has it as an approach.
    loss = row.approach or row.source.rsplit(", ", 1)[-1]
    return row.modality == modality and "Table 2" in row.source and loss == "L_s"


def test_the_ablation_of_the_loss() -> None:
    columns = [
        (method, backbone)
        for method in ("naive-triplet", "contrastive", "batch-triplet")
        for backbone in ("resnet18", "resnet50")
    ]
    lines = parsed(TABLE_7)
    assert [tuple(words) for words, _ in lines] == [(benchmark, score.key) for benchmark, score in SCORES]
    typed = {column: tuple(figures[place] for _, figures in lines) for place, column in enumerate(columns)}
    assert {(method, backbone): row for method, of in TABLE_VII.items() for backbone, row in of.items()} == typed


def test_texts_quote_the_ablation_of_the_loss() -> None:
    recalls, ranks = (figures for _, figures in parsed(TABLE_7)[-2:])
    names = ("naive-triplet", "", "contrastive", "", "soundingearth-resnet18", "soundingearth-resnet50")
    presets = (ROOT / "pretrain" / "presets.py").read_text(encoding="utf-8")
    for name, recall, rank in zip(names, recalls, ranks, strict=True):
        if name:
            text = presets.split(f"run.py {name} --shards")[1].split('"""')[0]
            assert f"recall@100 of {recall:.1f} % and a median rank of {rank:.0f}" in " ".join(text.split())
    page = " ".join((ROOT / "retrieval" / "README.md").read_text(encoding="utf-8").split())
    for depth, recall, rank in zip((18, 50), recalls[4:], ranks[4:], strict=True):
        row = rf"\| SoundingEarth, ResNet-{depth}, [^|]+\| image → sound \| @100 {recall:.1f} \| {rank:.0f} \|"
        assert re.search(row, page)


def test_the_comparison_of_corpora() -> None:
    # Table I. Its text gives two durations to three corpora; ADVANCE's 5,075 sounds of 10 s are 14.1 hours, so it is
    # CVS that has none.
    page = (ROOT / "shards" / "README.md").read_text(encoding="utf-8")
    for line in (
        "| CVS | Freesound | – | unspecified | Bing Maps | 23,308 |",
        "| ADVANCE | Freesound | about 14 h | unspecified | Google Earth | 5,075 |",
        "| SoundingEarth | Radio Aporee ::: Maps | about 3,500 h | field recordings | Google Earth | 50,545 |",
    ):
        assert line in page.splitlines()


def transfer_row(words: list[str], figures: list[float], weights: str, backbone: str) -> Key:
    """A line of ADVANCE's tables, whose figures are means, or means and deviations in turn."""
    names, has_sds = ("precision", "recall", "f1"), len(figures) == 6
    means, sds = (figures[::2], figures[1::2]) if has_sds else (figures, [])
    key = ("advance-transfer", weights, backbone, words[0], " ".join(words[1:]), "")
    return (*key, *zip(names, means, strict=True), *(("sd", *of) for of in zip(names, sds, strict=False)))


def test_the_transfer_of_sound_events() -> None:
    backbones = {"sound": "resnet50", "image": "resnet101"}
    typed = Counter(
        transfer_row(
            words,
            figures,
            "Random" if words[1] == "L_s†" else {"sound": "AudioSet", "image": "AID"}[words[0]],
            backbones[words[0]],
        )
        for words, figures in parsed(ADVANCE_2)
    )
    assert typed.total() == 10
    assert ours_of(PUBLISHED_TRANSFER, "Table 2") == typed
    typed = Counter(
        transfer_row(words, figures, "AID, AudioSet", "ResNet-101, ResNet-50") for words, figures in parsed(ADVANCE_3)
    )
    assert typed.total() == 4
    assert ours_of(PUBLISHED_TRANSFER, "Table 3") == typed
    (both,) = [row for row in PUBLISHED_TRANSFER if row.source.endswith("section 5.2")]
    assert (both.modality, both.approach, both.scores) == ("both", "L_s", {"f1": ADVANCE_BOTH_F1})
    # And none besides these and SoundingEarth's baseline of both.
    assert len(PUBLISHED_TRANSFER) == 10 + 4 + 1 + 1


def test_the_classifiers_of_advances_authors() -> None:
    table = {(words[0], " ".join(words[1:])): figures for words, figures in parsed(ADVANCE_2)}
    names = ("precision", "recall", "f1")
    rows = {(row.modality, row.source.rsplit("Table 2, ")[-1]): row for row in ADVANCE if "as in" not in row.source}
    assert set(rows) == {(modality, of) for modality in ("sound", "image") for of in ("L_s†", "L_s", "L_s + L_E")}
    for key, row in rows.items():
        figures = table[key]
        means, sds = (figures[::2], figures[1::2]) if len(figures) == 6 else (figures, [])
        assert row.scores == dict(zip(names, means, strict=True))
        assert row.sds == dict(zip(names, sds, strict=False))


def test_scenes_of_cities() -> None:
    weights = "ImageNet + Places365"

    def key(*parts: str) -> Key:
        return ("tau-scenes", *("" if part == "-" else part for part in parts))

    def scores(figures: list[float]) -> Key:
        return (("log_loss", figures[0]), ("accuracy", figures[1]))

    two = Counter(
        key("–" if backbone == "-" else weights, backbone, modality, "", features) + scores(figures)
        for (modality, features, backbone), figures in parsed(TAU_2)
    )
    three = Counter(
        key(weights, backbone, "both", strategy, features) + scores(figures)
        for (strategy, features, backbone), figures in parsed(TAU_3)
    )
    four = Counter(
        key(weights, "efficientnet-v2-s", "both", " ".join(words), "scalogram") + scores(figures)
        for words, figures in parsed(TAU_4)
    )
    five = Counter(
        key(" ".join(system), "efficientnet-v2-s" if ours else "", "both", strategy, "scalogram" if ours else "")
        + scores(figures)
        for (strategy, *system), figures in parsed(TAU_5)
        for ours in [strategy == "Joint"]
    )
    assert [table.total() for table in (two, three, four, five)] == [4, 8, 4, 5]
    for number, typed in enumerate((two, three, four, five), 2):
        assert ours_of(PUBLISHED_TAU, f"Table {number}") == typed
    assert len(PUBLISHED_TAU) == 21


def test_shares_of_the_items_that_trained() -> None:
    shares = {(row.benchmark, row.train_fraction) for row in (*PUBLISHED, *PUBLISHED_TRANSFER)}
    assert shares == {
        # SoundingEarth, section V-B: half of each; section V-C says nothing of DeepGlobe's validation tiles.
        *((benchmark, 0.5) for benchmark in ("ucmerced", "resisc45", "aid")),
        ("deepglobe", None),
        # ADVANCE, section 5.1: 70 % to train.
        ("advance", 0.7),
        ("advance-transfer", 0.7),
    }
    # Chen et al., section 3.1; their Table 5 gives no shares for the systems of others.
    assert {row.train_fraction for row in PUBLISHED_TAU} == {8646 / 12291, None}
    assert sum(row.train_fraction is None for row in PUBLISHED_TAU) == 4
