"""How audiovisual scenes of TAU report: each strategy in the tables of Chen et al. (2022)."""

from __future__ import annotations

from dataclasses import replace

from downstream.results import Results
from downstream.scores import ACCURACY, LOG_LOSS
from downstream.tables import Entry, Reporting, TableLayout
from pretrain.scores import NATS, PERCENT

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

THREE_PLACES, ONE_PLACE = replace(NATS, form=".3f"), replace(PERCENT, form=".1f")
"""As Table 5 prints losses and accuracies."""

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
SYSTEMS = replace(
    SINGLE,
    name="tau-systems",
    scores=(replace(LOG_LOSS, unit=THREE_PLACES), replace(ACCURACY, unit=ONE_PLACE)),
    caption=f"{CAPTION}the best single systems of DCASE 2021, task 1B, as in its Table 5.",
    title="other systems",
    order=("approach", "origin", "joined", "backbone", "name"),
    approaches=tuple(FUSIONS.values()),
)


def _entries(results: Results) -> list[Entry]:
    """One row of Table 2, or one of each of Tables 3, 4 and 5 that has the strategy."""
    strategy, features = results.detail("strategy"), FEATURES.get(results.detail("features"), "")
    if strategy in ("audio", "video"):
        return [Entry(SINGLE.name, modality={"audio": "sound", "video": "image"}[strategy], joined=features)]
    return [
        Entry(table.name, modality="both", joined=features, approach=names[strategy])
        for table, names in ((BOTH, FUSIONS), (ABLATED, ABLATION), (SYSTEMS, FUSIONS))
        if strategy in names
    ]


TAU = Reporting(
    SCORES,
    (SINGLE, BOTH, ABLATED, SYSTEMS),
    _entries,
    {"strategy": "", "features": "", "train_frames": ""},
    exhibits=("downstream.tau.exhibits:planes_side_by_side", "downstream.running.confusion_exhibit:confusions_of_runs"),
)
