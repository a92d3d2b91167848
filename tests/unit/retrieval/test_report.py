"""The parts of the report: histogram, colours, map view, choice of queries, licences, and pages without extras."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pretrain.training.embedding import PairEmbeddings
from retrieval import exhibits
from retrieval.charts import Curve, curve_ks, histogram_shares, rank_histogram, recall_chart
from retrieval.embedding import EmbeddedSplit
from retrieval.exhibits import colour_spectrogram, picture, spectrogram_picture
from retrieval.gallery import choose_queries, format_rank
from retrieval.protocols import PROTOCOLS
from retrieval.report import write_report
from retrieval.scoring import score
from retrieval.worldmap import Place, draw_map, rank_class
from shards.schema import SpectrogramSettings
from shards.streaming.reading import ShardSet


def test_histogram_has_equal_stretches_and_all_queries() -> None:
    ranks = np.arange(1, 101, dtype=float)
    assert histogram_shares(ranks, 100).tolist() == pytest.approx([0.05] * 20)
    assert histogram_shares(np.array([1.0, 1.0, 100.0, 50.5]), 100).tolist() == [0.5, *[0] * 9, 0.25, *[0] * 8, 0.25]
    assert histogram_shares(np.array([1.0, 3.0, 3.0]), 3).tolist() == pytest.approx([1 / 3, 0, 2 / 3])


@pytest.mark.parametrize("n", [1, 2, 24, 104, 10_000])
def test_charts_are_svg_that_says_what_it_shows(n: int) -> None:
    ks = curve_ks(n)
    assert (ks[0], ks[-1]) == (1, n)
    assert len(ks) <= 120
    chart = recall_chart(ks, [Curve("chance", [k / n for k in ks])], "Recall <over> k")
    histogram = rank_histogram("x", histogram_shares(np.ones(n), n), 1.0, 1 / n, "Ranks")
    for svg, label in ((chart, "Recall <over> k"), (histogram, "Ranks")):
        root = ElementTree.fromstring(str(svg))
        assert root.attrib["aria-label"] == label
        numbers = [float(number) for number in re.findall(r'(?:x|y|width|height)="(-?[\d.]+)"', str(svg))]
        assert all(0 <= number <= 440 for number in numbers)


def test_colours_follow_the_share_of_the_gallery() -> None:
    ranks = np.array([1, 10, 11, 100, 101, 250, 251, 500, 501, 1000], dtype=float)
    assert rank_class(ranks, 1000).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert rank_class(np.array([1.0, 2.0]), 4).tolist() == [0, 3]


def test_map_names_its_dots_safely() -> None:
    svg = draw_map([Place(1, 2, "<b>&")], {"image_to_sound": np.array([3])}, "Map")
    root = ElementTree.fromstring(str(svg))
    (dot,) = root.iter("circle")
    assert dot.attrib["class"] == "image_to_sound-3"
    assert dot[0].text == "<b>&"


def test_queries_are_best_typical_and_worst_and_vary() -> None:
    ranks = np.arange(1, 41, dtype=float)
    labels = ["a", "a", "b", "c"] * 10
    chosen = choose_queries(ranks, labels, 3)
    assert chosen == {"best": [0, 2, 3], "typical": [19, 20, 18], "worst": [39, 38, 37]}
    one_label = choose_queries(ranks, ["a"] * 40, 3)
    assert one_label == {"best": [0, 1, 2], "typical": [19, 20, 18], "worst": [39, 38, 37]}


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_small_gallery_shows_no_query_twice(n: int) -> None:
    numbers = [number for group in choose_queries(np.ones(n), [""] * n, 4).values() for number in group]
    assert len(numbers) == len(set(numbers)) == min(n, 3)


def test_ranks_read_well() -> None:
    assert [format_rank(rank) for rank in (1.0, 51.5, 16.02, 1234.0)] == ["1", "51.5", "16", "1,234"]


def test_spectrogram_is_drawn_with_low_sounds_at_the_bottom() -> None:
    stored = np.zeros((128, 300), np.uint8)
    stored[:32] = 200
    colours = colour_spectrogram(stored)
    assert colours.shape == (72, 264, 3)
    brightness = colours.astype(int).sum(axis=2)
    assert brightness[60:].min() > brightness[:40].max()
    silence = colour_spectrogram(np.zeros((128, 128), np.uint8))
    assert len(np.unique(silence.reshape(-1, 3), axis=0)) == 1


def test_pictures_have_their_size(tiny_shards: Path) -> None:
    sample = next(ShardSet.open(tiny_shards).samples("test"))
    assert Image.open(io.BytesIO(picture(sample.image(), 176))).size == (176, 176)
    assert Image.open(io.BytesIO(spectrogram_picture(sample, SpectrogramSettings()))).size == (264, 72)
    unknown = SpectrogramSettings(sample_rate_hz=None, hop_samples=None)
    assert Image.open(io.BytesIO(spectrogram_picture(sample, unknown))).size == (264, 72)


def page_of(shards: Path, out: Path, metadata: dict[str, object], protocol: str = "standard") -> str:
    """The report on random embeddings, all pairs with the same metadata and without listening clips."""
    shard_set = ShardSet.open(shards)
    keys = [sample.key for sample in shard_set.samples("test")]
    image, sound = np.random.default_rng(0).normal(size=(2, len(keys), 4)).astype(np.float32)
    provenance = {"weights": "runs/a/model", "shards": str(shards), "split": "test", "crops": 10, "seed": 0}
    embedded = EmbeddedSplit(PairEmbeddings(keys, image, sound), [metadata] * len(keys), provenance)
    return write_report(out, score(PROTOCOLS[protocol](), embedded), shard_set).read_text()


def test_report_without_coordinates_titles_or_sounds(tiny_shards: Path, tmp_path: Path) -> None:
    page = page_of(tiny_shards, tmp_path / "new" / "report.html", {"longitude": None, "latitude": None, "title": None})
    assert 'id="map"' not in page
    assert "Pair 10" in page
    assert "<audio" not in page
    assert 'class="sound silent"' in page
    assert "<dd>a</dd>" in page  # the run's name, not "model"


def test_report_of_khdlr_says_how_it_counts(tiny_shards: Path, tmp_path: Path) -> None:
    page = page_of(tiny_shards, tmp_path / "report.html", {"longitude": 1.0, "latitude": 2.0}, "khdlr")
    assert "rank of the true match below 10" in page
    assert "16 pairs" in page


def test_mrr_and_ndcg_are_fractions_and_recalls_are_in_percent(tiny_shards: Path, tmp_path: Path) -> None:
    page = page_of(tiny_shards, tmp_path / "report.html", {"longitude": 1.0, "latitude": 2.0}, "mteb")
    rows = dict(re.findall(r'<tr data-figure="(\w+)">(.*?)</tr>', page, re.DOTALL))
    shown = {name: re.findall(r"<td>([\d.]+)<", row) for name, row in rows.items()}
    assert all(re.fullmatch(r"[01]\.\d{3}", figure) for name in ("mrr", "ndcg_at_10") for figure in shown[name])
    assert len(shown["mrr"]) == len(shown["ndcg_at_10"]) == 3  # both directions and chance
    assert all(re.fullmatch(r"\d+\.\d\d", figure) for figure in shown["recall_at_10"])
    assert rows["mrr"].count('class="meter') == 3
    assert 'class="meter' not in rows["median_rank"]


def test_the_same_evaluation_gives_the_same_page(tiny_shards: Path, tmp_path: Path) -> None:
    place = {"longitude": 1.0, "latitude": 2.0, "title": "a <place>"}
    first = page_of(tiny_shards, tmp_path / "1.html", place)
    assert first == page_of(tiny_shards, tmp_path / "2.html", place)
    assert "a <place>" not in first


def test_clips_beyond_the_limit_are_left_out_and_counted(
    tiny_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibits, "MAX_CLIPS_BYTES", 3_500)
    monkeypatch.setattr("shards.streaming.reading.StoredSample.preview", lambda self: b"x" * 1000)
    page = page_of(tiny_shards, tmp_path / "report.html", {"longitude": 1.0, "latitude": 2.0})
    assert page.count("<audio") == 3
    assert re.search(r"(\d+) listening clips were omitted", page)
