"""How audiovisual scenes of TAU report: each strategy in the tables of Chen et al. (2022)."""

from __future__ import annotations

from dataclasses import replace

from downstream.results import Results
from downstream.scores import ACCURACY, LOG_LOSS
from downstream.tables import Entry, Reporting, TableLayout

FEATURES = {"fbank": "FBank", "scalogram": "scalogram"}
FUSIONS = {"pipeline": "Pipeline", "joint": "Joint"}
"""Table 3's names of strategies."""

ABLATION = {
    "pipeline": "I: embedding, pre-trained",
    "pipeline-trainable": "II: embedding, trainable",
    "joint-pretrained": "III: raw image, pre-trained",
    "joint": "IV: raw image, trainable",
}
"""Rows of Table 4: visual and acoustic encoder."""

SCORES = (LOG_LOSS, ACCURACY)
CAPTION = "Log loss in nats and accuracy in percent over 1-s segments, means over classes, as Chen et al. (2022); "

SINGLE = TableLayout(
    "tau-single",
    SCORES,
    f"{CAPTION}one modality, as in its Table 2.",
    title="one modality",
    order=("modality", "approach", "joined", "backbone", "origin", "name"),
)
BOTH = replace(
    SINGLE,
    name="tau-both",
    caption=f"{CAPTION}both modalities, as in its Table 3.",
    title="both modalities",
    approaches=tuple(FUSIONS.values()),
)
ABLATED = replace(
    SINGLE,
    name="tau-ablation",
    caption=f"{CAPTION}what is seen, and the acoustic encoder, as in its Table 4.",
    title="ablation",
    approaches=tuple(ABLATION.values()),
)


def _entries(results: Results) -> list[Entry]:
    """One row of Table 2, or one of Table 3 and one of Table 4, which share two strategies."""
    strategy, features = results.detail("strategy"), FEATURES.get(results.detail("features"), "")
    if strategy in ("audio", "video"):
        return [Entry(SINGLE.name, modality={"audio": "sound", "video": "image"}[strategy], joined=features)]
    return [
        Entry(table.name, modality="both", joined=features, approach=names[strategy])
        for table, names in ((BOTH, FUSIONS), (ABLATED, ABLATION))
        if strategy in names
    ]


TAU = Reporting(SCORES, (SINGLE, BOTH, ABLATED), _entries, {"strategy": "", "features": "", "train_frames": ""})
