"""The statistics page in a real browser: its figures, no wider than the screen, no requests, no stranger's script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from browser import console_errors, open_chromium, requested_urls
from page_widths import nothing_wider_than_screen
from shard_commands import error_of, run
from tiny_shards import write_shard_set

from shards.decoding.imagery import encode_jpeg
from shards.schema import Sample

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

HOSTILE = "</title><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"
LONG = "x" * 300


def pair(number: int) -> Sample:
    """Pairs around Europe: 40 seconds each but every tenth, of 11 minutes; untrusted labels and creators."""
    metadata: dict[str, Any] = {
        "longitude": -10 + number % 40,
        "latitude": 40 + number % 20,
        "seconds": 660 if number % 10 == 0 else 40,
        "creator": (HOSTILE, LONG, "Ann")[number % 3],
        "licence": "https://creativecommons.org/licenses/by/4.0/",
        "label": (HOSTILE, "beach", LONG)[number % 3],
        "date_recorded": f"{2008 + number % 12}-05-01",
    }
    image = np.full((40, 40, 3), number % 200, np.uint8)
    return Sample(str(number), encode_jpeg(image), np.zeros((128, 128), np.uint8, order="F"), metadata)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statistics")
    counts = {"train": 100, "val": 30, "test": 50}
    shards = write_shard_set(folder / "shards", counts, pair, samples_per_shard=60, split={"split_by": "key"})
    ring = [[-20, 30], [10, 30], [10, 70], [-20, 70], [-20, 30]]
    feature = {
        "type": "Feature",
        "properties": {"ADMIN": HOSTILE},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (folder / "world.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    done = run("info", shards, "--report", folder / "page", "--countries", folder / "world.geojson")
    assert done.returncode == 0, done.stderr
    assert str(folder / "page" / "report.html") in done.stdout
    return folder / "page" / "report.html"


def test_statistics_are_those_of_the_pairs(report: Path) -> None:
    found = json.loads((report.parent / "statistics.json").read_text())
    assert found["pairs"] == 180
    assert found["splits"] == {"train": 100, "val": 30, "test": 50}
    assert found["sound"]["hours"] == pytest.approx((18 * 660 + 162 * 40) / 3600)
    assert found["sound"]["histogram"][-1]["pairs"] == 18
    # Longitudes −10 to 10 of −10 to 29 lie inside: 21 of 40, four and a half times.
    inside = sum(-10 + number % 40 <= 10 for number in range(180))
    assert found["countries"]["pairs_inside"] + found["countries"]["pairs_near_shore"] == inside
    assert found["countries"]["pairs_without"] == 180 - inside


def test_countries_without_a_page_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    assert "is for the statistics page; give --report DIR" in error_of(run("info", tmp_path, "--countries", "x"))
    assert "no such file" in error_of(run("info", tmp_path, "--report", tmp_path / "r", "--countries", "x"))


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.mark.browser
@pytest.mark.parametrize("width", [1400, 400])
def test_the_page_shows_its_figures_and_fits_the_screen(chromium: Chrome, report: Path, width: int) -> None:
    # A headless window can't be narrower than 500 pixels; the emulated screen can.
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": width < 500}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    requested_urls(chromium)
    console_errors(chromium)
    chromium.get(report.as_uri())
    assert chromium.title == "Statistics of 180 pairs · Earshot"
    nothing_wider_than_screen(chromium, width)
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    figures = chromium.execute_script(
        "const shown = [...document.querySelectorAll('[data-figure]')];"
        "return Object.fromEntries(shown.map(e => [e.dataset.figure, e.innerText]))"
    )
    assert figures["pairs"] == "180"
    assert figures["median"] == "40 s"
    assert figures["percentile-99"] == "11 min"
    assert figures["countries"] == "1"
    assert figures["creators"] == "3"
    drawn = chromium.execute_script(
        "return [...document.querySelectorAll('svg.chart, svg.map')].map(e => e.getBoundingClientRect())"
        ".map(box => [box.left, box.right, box.height])"
    )
    assert len(drawn) == 10  # lengths, map, countries, creators, licences, years, classes, and three small maps
    assert all(left >= 0 and right <= width and height > 20 for left, right, height in drawn)
    assert chromium.execute_script("return document.querySelectorAll('script, img').length") == 0
    # On a busy machine the browser may still load a page of its own; the log of this one may come later.
    assert {url for url in requested_urls(chromium) if not url.startswith("chrome")} <= {report.as_uri()}
    assert console_errors(chromium) == []
