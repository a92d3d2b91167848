"""The report in a real browser: it shows, it sounds, it asks nobody for anything, and runs no stranger's script."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from browser import console_errors, open_chromium, requested_urls
from page_widths import nothing_wider_than_screen, screen_of

from pretrain.training.embedding import PairEmbeddings
from retrieval.embedding import EmbeddedSplit
from retrieval.protocols import PROTOCOLS
from retrieval.report import write_report
from retrieval.scoring import score
from shards.building.writing import ShardWriter
from shards.decoding.imagery import encode_jpeg
from shards.manifest import Manifest
from shards.schema import Sample, SpectrogramSettings
from shards.streaming.reading import ShardSet

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.browser

NUM_PAIRS = 40
HOSTILE = "</title><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


def make_shards(folder: Path) -> ShardSet:
    """40 coloured pairs with listening clips, all but the last; texts as a stranger with bad intent writes them."""
    generator = np.random.default_rng(0)
    folder.mkdir()
    with ShardWriter(folder, "test-000000.tar", with_previews=True) as writer:
        for number in range(NUM_PAIRS):
            colour = generator.integers(40, 220, 3)
            image = np.full((96, 96, 3), colour, np.uint8) + generator.integers(0, 30, (96, 96, 3), dtype=np.uint8)
            sound = generator.integers(0, 255, (128, 200), dtype=np.uint8)
            clip = io.BytesIO()
            soundfile.write(clip, 0.1 * generator.normal(size=16_000), 16_000, format="MP3")
            metadata = {
                "longitude": float(generator.uniform(-170, 170)),
                "latitude": float(generator.uniform(-50, 70)),
                "title": f"{HOSTILE} {number}",
                "creator": HOSTILE,
                "label": f"kind <{number % 5}>",
                "licence": "javascript:alert(1)" if number % 2 else "https://creativecommons.org/licenses/by-nc/3.0/",
            }
            preview = clip.getvalue() if number < NUM_PAIRS - 1 else None
            writer.add(Sample(str(number), encode_jpeg(image), np.asfortranarray(sound), metadata, preview))
        entry = writer.finish()
    statistics = {"spectrogram_mean": 127.0, "spectrogram_std": 73.6, "seconds_of_sound": 400.0}
    Manifest("recordings", {}, SpectrogramSettings(), statistics, (entry,), ()).save(folder)
    return ShardSet.open(folder)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    shard_set = make_shards(folder / "shards")
    samples = list(shard_set.samples("test"))
    rng = np.random.default_rng(0)
    image = rng.normal(size=(NUM_PAIRS, 8)).astype(np.float32)
    sound = (image + 1.5 * rng.normal(size=image.shape)).astype(np.float32)
    provenance = {"weights": f"runs/{HOSTILE}", "shards": "shards", "split": "test", "crops": 10, "seed": 0}
    embeddings = PairEmbeddings([sample.key for sample in samples], image, sound)
    embedded = EmbeddedSplit(embeddings, [sample.metadata() for sample in samples], provenance)
    return write_report(folder / "report.html", score(PROTOCOLS["standard"](), embedded), shard_set)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(chromium: Chrome, report: Path) -> Chrome:
    from selenium.webdriver.support.ui import WebDriverWait

    requested_urls(chromium)  # forget what came before
    console_errors(chromium)
    chromium.get(report.as_uri())
    WebDriverWait(chromium, 60).until(lambda driver: driver.execute_script("return document.readyState") == "complete")
    return chromium


def test_the_page_is_whole_and_asks_nobody(page: Chrome, report: Path) -> None:
    images = page.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(images) > 100
    assert all(width > 0 for width in images)
    assert requested_urls(page) == [report.as_uri()]
    assert console_errors(page) == []
    assert report.stat().st_size < 12e6


def test_untrusted_texts_stay_texts(page: Chrome) -> None:
    assert page.title == "Retrieval on 40 pairs · Earshot"
    assert page.execute_script("return document.querySelectorAll('script').length") == 1
    assert page.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
    titles = page.execute_script("return [...document.querySelectorAll('.title')].map(t => t.textContent)")
    assert all(title.startswith(HOSTILE) for title in titles)
    links = page.execute_script("return [...document.querySelectorAll('article a')].map(a => a.getAttribute('href'))")
    assert set(links) == {"https://creativecommons.org/licenses/by-nc/3.0/"}
    # Even a script that got onto the page would not run.
    page.execute_script(
        "const script = document.createElement('script'); script.textContent = 'document.title = `broken`';"
        "document.body.append(script)"
    )
    assert page.title == "Retrieval on 40 pairs · Earshot"
    assert "Content Security Policy" in console_errors(page)[0]["message"]


def test_the_table_holds_every_figure_beside_chance(page: Chrome) -> None:
    table = page.execute_script(
        "return [...document.querySelectorAll('#scores tr')].map(r => [...r.cells].map(c => c.innerText.trim()))"
    )
    headings = [cell.splitlines()[0] for cell in table[0][1:]]
    assert headings == ["Image → sound", "Sound → image", "Chance", "Label known only"]
    rows = {row[0].splitlines()[0]: row[1:] for row in table[1:]}
    assert list(rows) == [
        *("Recall@1", "Recall@5", "Recall@10", "Recall@100", "Recall@10 %"),
        *("Median rank", "Mean rank", "MRR"),
    ]
    assert rows["Recall@10"][2] == "25.00"
    assert rows["Recall@100"] == ["n/a"] * 4
    assert rows["Median rank"][2] == "20.5"
    assert rows["MRR"][2] == "0.107"  # the mean of 1 / rank over ranks 1 to 40
    assert float(rows["MRR"][0].splitlines()[0]) <= 1
    recall, interval = rows["Recall@10"][0].splitlines()
    low, high = map(float, interval.split(" – "))
    assert 25 < low <= float(recall) <= high


def test_queries_show_their_matches_and_mark_the_true_one(page: Chrome) -> None:
    queries = page.execute_script(
        """return [...document.querySelectorAll('article')].map(a => ({
            rank: a.querySelector('.asked .place b').textContent,
            matches: a.querySelectorAll('.match').length,
            marked: [...a.querySelectorAll('.match.true')].map(m => m.querySelector('.place b').textContent)}))"""
    )
    assert len(queries) == 24
    for query in queries:
        assert query["marked"] == [query["rank"]]
        assert query["matches"] == (5 if int(query["rank"]) <= 5 else 6)
    ranks = [int(query["rank"]) for query in queries[:12]]
    assert ranks[:4] == [1] * 4
    assert ranks[8] == max(ranks)
    assert min(ranks[8:]) > max(ranks[4:8])


def test_a_clip_plays_and_stops(page: Chrome) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    playing = "const a = [...document.querySelectorAll('audio')].find(a => !a.paused);"
    shown = "return [...document.querySelectorAll('button.sound')].filter(b => b.checkVisibility()).slice(0, 2)"
    first, second = page.execute_script(shown)
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", first)
    first.click()
    WebDriverWait(page, 20).until(
        lambda d: d.execute_script(playing + "return a && a.readyState >= 3 && a.currentTime")
    )
    assert page.execute_script(playing + "return a.duration") == pytest.approx(1.0, abs=0.2)
    assert page.execute_script(playing + "return a.error") is None
    assert "playing" in first.get_attribute("class")
    second.click()
    assert "playing" not in first.get_attribute("class")
    second.click()
    assert page.execute_script(playing + "return a === undefined")


def test_the_map_has_a_dot_a_pair_and_two_colourings(page: Chrome) -> None:
    colours = "return [...document.querySelectorAll('.dots circle')].map(c => getComputedStyle(c).fill)"
    before = page.execute_script(colours)
    assert len(before) == NUM_PAIRS
    counts = page.execute_script(
        "return [...document.querySelectorAll('.legend td')].filter(c => c.offsetParent).map(c => +c.textContent)"
    )
    assert sum(counts) == NUM_PAIRS
    page.execute_script("document.getElementById('map-sound_to_image').click()")
    after = page.execute_script(colours)
    assert before != after
    assert len(set(after)) > 1


def test_two_fingers_zoom_the_map_and_one_moves_it(page: Chrome) -> None:
    def touch(kind: str, *points: tuple[float, float]) -> None:
        fingers = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

    def view() -> list[float]:
        return [float(part) for part in drawing.get_dom_attribute("viewBox").split()]

    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})
    try:
        drawing = page.find_element("css selector", "svg.map")
        page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", drawing)
        box = page.execute_script("return arguments[0].getBoundingClientRect().toJSON()", drawing)
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        whole = view()
        touch("touchStart", (x - 40, y), (x + 40, y))
        for step in (50, 60, 70, 80):
            touch("touchMove", (x - step, y), (x + step, y))
        touch("touchEnd")
        near = view()
        assert near[2] == pytest.approx(whole[2] / 2, rel=0.05)
        assert near[0] + near[2] / 2 == pytest.approx(whole[2] / 2, rel=0.05)
        touch("touchStart", (x, y))
        for step in (20, 40, 60):
            touch("touchMove", (x + step, y))
        touch("touchEnd")
        assert view()[0] == pytest.approx(near[0] - 60 * near[2] / box["width"], rel=0.1)
        assert view()[2] == near[2]
    finally:
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_sticks_out_sideways(page: Chrome, width: int) -> None:
    nothing_wider_than_screen(page, width)
    with screen_of(page, width):
        cut = "return [...document.querySelectorAll('.scroll')].map(b => b.scrollWidth - b.clientWidth)"
        assert max(page.execute_script(cut)) <= 0


def test_it_is_a_few_screens_long_and_the_rest_unfolds(page: Chrome) -> None:
    with screen_of(page, 1400, 900):
        shown = "return [...document.querySelectorAll('article')].filter(a => a.checkVisibility()).length"
        height = "return document.scrollingElement.scrollHeight"
        folded = page.execute_script(height)
        assert folded < 5 * 900
        assert page.execute_script(shown) == 2
        summary = page.find_element("css selector", "#image_to_sound details[data-group=worst] summary")
        page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", summary)
        summary.click()
        assert page.execute_script(shown) == 6
        assert page.execute_script(height) > folded + 500


def test_all_columns_of_the_table_look_alike(page: Chrome) -> None:
    looks = page.execute_script(
        """const cells = [...document.querySelector('[data-figure=recall_at_1]').querySelectorAll('td')];
        return cells.map(c => { const s = getComputedStyle(c); return [s.color, s.fontSize, s.fontWeight].join(); })"""
    )
    assert len(looks) == 4
    assert len(set(looks)) == 1


def test_the_map_zooms_by_buttons_keys_and_dragging(page: Chrome) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def view() -> list[float]:
        return [
            float(part) for part in page.find_element("css selector", "svg.map").get_dom_attribute("viewBox").split()
        ]

    def button(name: str) -> WebElement:
        return page.find_element("css selector", f".map-tools button[data-zoom={name}]")

    def dot_pixels() -> float:
        return float(page.execute_script("return document.querySelector('.dots circle').getBoundingClientRect().width"))

    page.execute_script("document.querySelector('.map-box').scrollIntoView({block: 'center', behavior: 'instant'})")
    whole, size = view(), dot_pixels()
    assert not button("out").is_enabled()
    button("in").click()
    button("in").click()
    near = view()
    assert near[2] == pytest.approx(whole[2] / 1.7**2)
    assert near[0] + near[2] / 2 == pytest.approx(whole[2] / 2)
    assert dot_pixels() == pytest.approx(size, rel=0.05)
    box = page.find_element("css selector", ".map-box")
    box.send_keys(Keys.ARROW_RIGHT)
    assert view()[0] == pytest.approx(near[0] + 0.2 * near[2])
    box.send_keys("+")
    assert view()[2] == pytest.approx(whole[2] / 1.7**3)
    before, pixels = view(), page.find_element("css selector", "svg.map").rect["width"]
    ActionChains(page).drag_and_drop_by_offset(page.find_element("css selector", "svg.map"), 60, -40).perform()
    assert view()[0] == pytest.approx(before[0] - 60 * before[2] / pixels, abs=1)
    assert view()[1] > before[1]
    for _ in range(30):
        box.send_keys(Keys.ARROW_LEFT)
    assert view()[0] == 0
    button("all").click()
    assert view() == whole
    assert console_errors(page) == []
