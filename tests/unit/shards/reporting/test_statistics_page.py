"""The statistics page and its drawings: valid, whole, escaped, and small for many places."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.geography.map_view import choose_view
from shards.manifest import Manifest
from shards.reporting.charts import Column, bars_chart, columns_chart, count_axis, short_count, year_names
from shards.reporting.figures import statistics_of
from shards.reporting.page import duration, write_report
from shards.reporting.place_maps import class_maps, count_steps, density_map
from shards.reporting.tally import CorpusTally
from shards.schema import SpectrogramSettings

HOSTILE = "</svg><script>document.title='broken'</script>"
STATISTICS = {"spectrogram_mean": 1.0, "spectrogram_std": 1.0, "seconds_of_sound": 1.0}


@given(st.integers(0, 10**9))
def test_axes_of_counts_have_few_round_marks(largest: int) -> None:
    top, step = count_axis(largest)
    assert top >= largest
    assert top % step == 0
    assert 1 <= top // step <= 5
    assert str(step).rstrip("0") in ("1", "2", "5")


@given(st.integers(1, 10**8))
def test_colours_of_the_map_cover_all_counts(largest: int) -> None:
    edges = count_steps(largest)
    assert edges[0] == 1
    assert edges == sorted(set(edges))
    assert len(edges) <= 5
    assert edges[-1] <= largest


def test_counts_and_lengths_in_words() -> None:
    assert [short_count(n) for n in (0, 999, 1500, 2_000_000)] == ["0", "999", "1.5k", "2M"]
    found = [duration(s) for s in (None, 0, 59.6, 60, 184, 1800, 3599.6, 3720)]
    assert found == ["unknown", "0 s", "59.6 s", "1 min", "3 min 4 s", "30 min", "1 h", "1 h 2 min"]
    assert year_names([2009, 2010, 2011]) == ["2009", "2010", "2011"]
    assert [name for name in year_names(list(range(1990, 2021))) if name] == [*map(str, range(1990, 2021, 5))]


def test_columns_have_the_heights_of_their_counts() -> None:
    columns = [Column("a", 4, "four"), Column("", 0, "none"), Column("> 10", 2, HOSTILE, is_other=True)]
    root = ElementTree.fromstring(str(columns_chart(columns, "x", "Chart <of> things")))
    assert root.attrib["aria-label"] == "Chart <of> things"
    bars = root.findall("rect")
    assert [bar.attrib["class"] for bar in bars] == ["bar", "bar other"]
    assert float(bars[0].attrib["height"]) == pytest.approx(2 * float(bars[1].attrib["height"]))
    assert bars[1][0].text == HOSTILE


def test_bars_state_count_and_share_and_cut_long_names() -> None:
    root = ElementTree.fromstring(str(bars_chart([("beach", 30), ("x" * 70, 10)], 200, "Bars")))
    words = [text.text for text in root.findall("text")]
    assert words == ["beach", "30 · 15.0%", f"{'x' * 19}…", "10 · 5.0%"]
    wide, narrow = (float(bar.attrib["width"]) for bar in root.findall("rect"))
    assert wide == pytest.approx(3 * narrow, rel=1e-3)


def test_the_map_draws_few_dots_for_many_places_and_counts_all() -> None:
    generator = np.random.default_rng(0)
    places = np.stack(
        [generator.normal(10, 60, 200_000) % 360 - 180, generator.normal(30, 20, 200_000).clip(-80, 80)], 1
    )
    found = density_map(places, "Map")
    assert 500 < found.num_dots < 15_000
    assert sum(step.dots for step in found.legend) == found.num_dots
    root = ElementTree.fromstring(str(found.svg))
    assert len(root.findall(".//circle")) == found.num_dots


def test_few_places_are_a_dot_each_and_equal_ones_are_one() -> None:
    places = np.array([[0.0, 50.0], [0.0, 50.0], [20.0, 40.0]])
    found = density_map(places, "Map")
    assert [(step.name, step.dots) for step in found.legend] == [("1", 1), ("2", 1)]
    drawn = [[float(value) for value in pair] for pair in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', str(found.svg))]
    # The place with more pairs is drawn last, on top.
    assert np.allclose(drawn, choose_view(*places.T).project(*places[[2, 0]].T), atol=0.06)
    ground, maps = class_maps(places, [("a", places[:2]), (HOSTILE, places[2:]), ("empty", places[:0])])
    assert [entry.num_pairs for entry in maps] == [2, 1, 0]
    assert [len(re.findall("<circle", entry.svg)) for entry in maps] == [1, 1, 0]
    assert str(ground).count('id="ground"') == 1
    assert "<script" not in "".join(str(entry.svg) for entry in maps)


def write_page(folder: Path, num_pairs: int) -> Path:
    tally = CorpusTally()
    generator = np.random.default_rng(1)
    for number in range(num_pairs):
        tally.add(
            {
                "seconds": float(generator.exponential(200)),
                "longitude": float(generator.uniform(-170, 170)),
                "latitude": float(generator.uniform(-50, 70)),
                "creator": f"{HOSTILE} {number % 40}",
                "licence": "javascript:alert(1)",
                "label": f"{HOSTILE} {number % 3}",
                "date_recorded": f"{2000 + number % 15}-01-01",
            }
        )
    manifest = Manifest(HOSTILE, {}, SpectrogramSettings(), STATISTICS, (), ())
    return write_report(folder, statistics_of(manifest, tally, None), tally)


def test_the_page_is_whole_and_escapes_untrusted_text(tmp_path: Path) -> None:
    page = write_page(tmp_path / "report", 300)
    text = page.read_text()
    assert "<script" not in text
    assert "unknown<small>give --countries FILE" in text
    assert "http://" not in text.replace("http://www.w3.org", "")
    statistics = json.loads((page.parent / "statistics.json").read_text())
    assert statistics["pairs"] == 300
    assert statistics["creators"]["different"] == 40
    names = sorted(path.name for path in (page.parent / "figures").iterdir())
    assert names == ["creators.svg", "labels.svg", "lengths.svg", "licences.svg", "map.svg", "years.svg"]
    for path in (page.parent / "figures").iterdir():
        root = ElementTree.fromstring(path.read_text())  # well-formed by itself
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "<script" not in path.read_text()


def test_names_that_are_no_unicode_are_shown_with_a_replacement(tmp_path: Path) -> None:
    tally = CorpusTally()
    tally.add(json.loads('{"creator": "A\\ud800B", "licence": "\\udfff", "label": "\\ud83d"}'))
    manifest = Manifest("recordings", {}, SpectrogramSettings(), STATISTICS, (), ())
    text = write_report(tmp_path, statistics_of(manifest, tally, None), tally).read_text()
    assert "A\ufffdB" in text


def test_a_set_without_places_lengths_or_labels_has_a_page(tmp_path: Path) -> None:
    tally = CorpusTally()
    tally.add({"title": "nothing known"})
    manifest = Manifest("recordings", {}, SpectrogramSettings(), STATISTICS, (), ())
    text = write_report(tmp_path, statistics_of(manifest, tally, None), tally).read_text()
    assert "No pair states the length of its recording." in text
    assert "No pair has coordinates." in text
    assert 'id="classes"' not in text
    assert list((tmp_path / "figures").iterdir()) == []
