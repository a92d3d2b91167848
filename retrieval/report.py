"""`report.html`: a self-contained page with scores, charts, a map, and example queries to view and listen to."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

from pretrain.ranking import RankBounds
from pretrain.ranking.scores import (
    DIRECTIONS,
    KM_AT,
    LARGE_RECALLS,
    MEAN_RANK,
    MEDIAN_RANK,
    MRR,
    NDCG_AT_10,
    RECALL_AT_10_PERCENT,
    RECALLS,
)
from pretrain.scores import PERCENT
from retrieval.certainty import certainty_lines, interval_of
from retrieval.charts import Curve, curve_ks, histogram_shares, rank_histogram, recall_chart
from retrieval.exhibits import Exhibition
from retrieval.gallery import build_gallery, format_rank
from retrieval.map_zoom import zoom_script, zoom_style
from retrieval.metrics_file import LABEL_ONLY, OVERLAP, WITHOUT_REPEATED, describe_overlap, published_lines
from retrieval.pair_metadata import text_of
from retrieval.protocols.protocol import Protocol
from retrieval.scoring import Evaluation
from retrieval.worldmap import RANK_CLASSES, Place, draw_map, rank_class, view_of
from shards.atomic_files import write_text_atomically
from shards.schema import place_of
from shards.streaming.reading import ShardSet

LABELS = {direction: words.capitalize() for direction, words in DIRECTIONS.items()}
QUESTIONS = {
    "image_to_sound": "Given the image of a place, which recording was made there?",
    "sound_to_image": "Given a recording, which image shows the place where it was made?",
}

OPEN_GROUP = "typical"
"""The group of examples whose first one is shown; the others are folded, so that the page is a few screens long."""


def write_report(path: Path, evaluation: Evaluation, shard_set: ShardSet) -> Path:
    """Writes the report of a ranked split.

    Args:
        path: the file to write.
        evaluation: ranks, metadata and metrics.
        shard_set: the source of images and sounds.

    Returns:
        `path`.
    """
    template_folder = resources.files("retrieval").joinpath("templates")
    style, script = (template_folder.joinpath(name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    style, script = style + zoom_style(), f'"use strict";\n{zoom_script()}{script}'
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"rank": format_rank}
    template = environment.from_string(template_folder.joinpath("report.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        style=Markup(style),
        script=Markup(script),
        # The page may run only this script, because titles are untrusted.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        **_contents(evaluation, shard_set),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(path, page)
    return path


def _contents(evaluation: Evaluation, shard_set: ShardSet) -> dict[str, Any]:
    metrics = evaluation.metrics
    n = metrics["gallery_size"]
    split = metrics["split"]
    numbers = {sample.key: number for number, sample in enumerate(shard_set.samples(split))}
    exhibition = Exhibition(shard_set, split, numbers)
    galleries = {direction: build_gallery(evaluation, direction, exhibition) for direction in DIRECTIONS}
    return {
        "metrics": metrics,
        "n": n,
        "source": shard_set.manifest.source,
        "weights_name": _weights_name(Path(metrics["weights"])),
        "crops_are_random": evaluation.protocol.default_crops is None,
        "protocol_description": evaluation.protocol.description,
        "directions": tuple(DIRECTIONS),
        "labels": LABELS,
        "questions": QUESTIONS,
        "score_rows": _score_rows(metrics, evaluation.protocol),
        "without_repeated": metrics.get(WITHOUT_REPEATED),
        "rows_without_repeated": _score_rows(others, evaluation.protocol)
        if (others := metrics.get(WITHOUT_REPEATED))
        else [],
        "median_rank_ends": {direction: _median_rank_ends(metrics, direction) for direction in DIRECTIONS},
        "certainty": certainty_lines(metrics),
        "published": published_lines(metrics),
        "overlap": describe_overlap(metrics.get(OVERLAP)),
        "warnings": [words for words in shard_set.manifest.warnings if words.startswith(f"{metrics['split']} ")],
        "recall_svg": _recall_svg(evaluation),
        "histograms": _histograms(evaluation),
        "map": _map(evaluation),
        "galleries": galleries,
        "open_group": OPEN_GROUP,
        "exhibition": exhibition,
    }


def _weights_name(weights: Path) -> str:
    return weights.resolve().parent.name if weights.name == "model" else weights.resolve().name


def _score_rows(metrics: dict[str, Any], protocol: Protocol) -> list[dict[str, Any]]:
    """Rows of the score table: name, explanation, kind, the value of each column, and intervals; None for none."""
    n = metrics["gallery_size"]
    recalls = RECALLS | {k: score for k, score in LARGE_RECALLS.items() if score.key in metrics["chance"]}
    meanings = {score: protocol.recall_meaning.format(k=f"{k:,}") for k, score in recalls.items()}
    meanings[RECALL_AT_10_PERCENT] = protocol.recall_meaning.format(k=f"{protocol.ten_percent(n):,}")
    meanings |= dict.fromkeys((MEDIAN_RANK, MEAN_RANK), f"1 is best, {n:,} is last")
    meanings[MRR] = "mean of 1 / rank"
    if NDCG_AT_10.key in metrics["chance"]:
        meanings[NDCG_AT_10] = "1 / log2(rank + 1), 0 beyond rank 10"
    meanings |= {
        score: f"km from the true place to the nearest of the first {k:,}"
        for k, score in KM_AT.items()
        if score.key in metrics["chance"]
    }
    return [
        {
            "name": score.key,
            "heading": score.heading,
            "explanation": meaning,
            "show": format_rank if score.better == "lower" else score.unit.show,
            "has_meter": score.better == "higher",
            **{c: metrics[c].get(score.key) for c in (*DIRECTIONS, "chance", LABEL_ONLY) if metrics.get(c)},
            "intervals": {direction: interval_of(metrics, direction, score) for direction in DIRECTIONS},
        }
        for score, meaning in meanings.items()
    ]


def _median_rank_ends(metrics: dict[str, Any], direction: str) -> str:
    """The 95 % interval of a median rank as it follows the figure in a sentence."""
    bounds = interval_of(metrics, direction, MEDIAN_RANK)
    return f" (95 % interval {' – '.join(map(format_rank, bounds))})" if bounds else ""


def _recall_svg(evaluation: Evaluation) -> Markup:
    n = evaluation.metrics["gallery_size"]
    ks = curve_ks(n)
    protocol, bounds = evaluation.protocol, evaluation.ranking.bounds
    curves = [Curve("chance", [protocol.chance_recall(n, k) for k in ks])]
    curves += [
        Curve(direction, [protocol.recall(bounds[direction], k) for k in ks]) for direction in reversed(DIRECTIONS)
    ]
    tenth = {direction: evaluation.metrics[direction][RECALL_AT_10_PERCENT.key] for direction in DIRECTIONS}
    figures = ", ".join(f"{LABELS[direction]} {PERCENT.show(share)} %" for direction, share in tenth.items())
    return recall_chart(ks, curves, f"Recall over k. Among the first tenth of the gallery: {figures}, chance 10 %.")


def _histograms(evaluation: Evaluation) -> dict[str, Markup]:
    n = evaluation.metrics["gallery_size"]
    shares = {d: histogram_shares(bounds.ranks, n) for d, bounds in evaluation.ranking.bounds.items()}
    top = max(float(part.max()) for part in shares.values())
    return {
        direction: rank_histogram(
            direction,
            shares[direction],
            top,
            evaluation.metrics[direction][MEDIAN_RANK.key] / n,
            f"Histogram of ranks, {LABELS[direction]}: {shares[direction][0]:.0%} of the true matches rank in the "
            f"first of {len(shares[direction])} equal parts of the gallery.",
        )
        for direction in DIRECTIONS
    }


def _map(evaluation: Evaluation) -> dict[str, Any] | None:
    """The map and its legend, or None if no pair has coordinates."""
    n = evaluation.metrics["gallery_size"]
    located = {number: place for number, entry in enumerate(evaluation.metadata) if (place := place_of(entry))}
    if not located:
        return None
    placed = list(located)
    bounds = evaluation.ranking.bounds
    classes = {direction: rank_class(bounds[direction].ranks[placed], n) for direction in DIRECTIONS}
    places = [Place(*place, _place_title(evaluation, bounds, number)) for number, place in located.items()]
    description = f"Map of {len(places)} pairs, coloured by the rank of the true match; the legend counts each colour."
    return {
        "svg": draw_map(places, classes, description),
        "legend": [
            {
                "name": name,
                "number": number,
                "counts": {direction: int(np.sum(classes[direction] == number)) for direction in DIRECTIONS},
            }
            for number, (name, _) in enumerate(RANK_CLASSES)
        ],
        "num_places": len(places),
        "has_coarse_land": view_of(places).has_coarse_land,
    }


def _place_title(evaluation: Evaluation, bounds: dict[str, RankBounds], number: int) -> str:
    ranks = ", ".join(f"{LABELS[d].lower()} rank {format_rank(float(bounds[d].ranks[number]))}" for d in DIRECTIONS)
    title = text_of(evaluation.metadata[number], "title") or evaluation.ranking.embeddings.keys[number]
    return f"{title}: {ranks}"
