"""A study of 6 pairs answered by a real Chromium of a phone's size, its server killed in the middle, and its report."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import console_errors, open_chromium, requested_urls
from commands import python, run
from listening_shards import CLIP_SECONDS, write_listening_shards, write_tiny_towers
from page_widths import nothing_wider_than_screen
from study_serving import Client, serving

from retrieval.study.folder import Study

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

WIDTH, HEIGHT = 390, 844
LEAST_TARGET_PIXELS = 44
"""What a thumb hits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared by the command."""
    root = tmp_path_factory.mktemp("study")
    words = ["--weights", write_tiny_towers(root / "model"), "--shards", root / "shards", "--out", root / "out"]
    write_listening_shards(root / "shards", {"test": 16})
    prepared = run(python("retrieval/run.py", "study", "prepare", *words, "--pairs", "6", "--crops", "1"), cwd=root)
    assert prepared.returncode == 0, prepared.stderr
    return root / "out"


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_chromium(tmp_path_factory.mktemp("profile")) as driver:
        become_phone(driver)
        yield driver


def become_phone(driver: Chrome) -> None:
    screen = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def press(phone: Chrome, css: str) -> None:
    """Presses what a thumb would."""
    with next_page(phone):
        phone.find_element("css selector", css).click()


def press_key(phone: Chrome, key: str) -> None:
    with next_page(phone):
        phone.find_element("tag name", "body").send_keys(key)


@contextmanager
def next_page(phone: Chrome) -> Iterator[None]:
    """Waits for the page that follows from what is done in the block."""
    from selenium.webdriver.support.expected_conditions import staleness_of
    from selenium.webdriver.support.ui import WebDriverWait

    page = phone.find_element("tag name", "html")
    yield
    WebDriverWait(phone, 30).until(staleness_of(page))
    WebDriverWait(phone, 30).until(lambda d: d.execute_script("return document.readyState") == "complete")


def shown_pair(phone: Chrome) -> str:
    return str(phone.execute_script("return document.querySelector('[name=pair]').value"))


def count(phone: Chrome) -> str:
    return phone.find_element("css selector", ".count span").text


def answer(phone: Chrome, answers: dict[str, str]) -> None:
    press(phone, f"button[value={answers[shown_pair(phone)]}]")


def assert_no_overflow(phone: Chrome) -> None:
    nothing_wider_than_screen(phone)
    become_phone(phone)


def assert_it_fits(phone: Chrome) -> None:
    assert_no_overflow(phone)
    boxes = phone.execute_script(
        """return [...document.querySelectorAll('button')].map(b => b.getBoundingClientRect())
           .map(box => [box.height, box.bottom])"""
    )
    assert boxes
    assert all(height >= LEAST_TARGET_PIXELS and bottom <= HEIGHT for height, bottom in boxes)


def assert_it_shows_and_sounds(phone: Chrome) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    assert phone.execute_script("const i = document.querySelector('.picture'); return i.complete && i.naturalWidth") > 0
    phone.execute_script("document.querySelector('audio').play()")
    playing = "const a = document.querySelector('audio'); return a.readyState >= 3 && a.currentTime > 0 && a.duration"
    duration = WebDriverWait(phone, 30).until(lambda d: d.execute_script(playing))
    assert duration == pytest.approx(CLIP_SECONDS, abs=0.2)


def test_answers_outlive_the_server_and_the_report_is_right(phone: Chrome, folder: Path) -> None:
    study = Study.load(folder)
    true, retrieved = ([pair.id for pair in study.pairs if pair.kind == kind] for kind in ("true", "retrieved"))
    first = dict(zip(true, ("yes", "yes", "no"), strict=True))
    first |= dict(zip(retrieved, ("yes", "no", "unplayable"), strict=True))
    second = dict.fromkeys(true, "yes") | dict.fromkeys(retrieved, "no")
    requested_urls(phone)

    with serving(folder) as server:
        phone.get(server.url)
        assert_it_fits(phone)
        press(phone, "button.main")
        assert count(phone) == "1 of 6"
        assert_it_fits(phone)
        assert_it_shows_and_sounds(phone)
        seen = []
        for _ in range(3):
            seen.append(shown_pair(phone))
            answer(phone, first)
        assert count(phone) == "4 of 6"
        url, port = server.url, server.port
        server.process.kill()
        server.process.wait()
    with serving(folder, port=port):
        phone.refresh()
        assert count(phone) == "4 of 6"
        # The last answer before the kill was stored, and can still be changed.
        press(phone, ".back")
        assert shown_pair(phone) == seen[2]
        assert phone.execute_script("return document.querySelector('button.given').value") == first[seen[2]]
        press(phone, f"button[value={'no' if first[seen[2]] == 'yes' else 'yes'}]")
        press(phone, ".back")
        # By the keyboard this time, where the answer has a key.
        if first[seen[2]] != "unplayable":
            press_key(phone, first[seen[2]][0])
        else:
            answer(phone, first)
        for place in (4, 5, 6):
            assert count(phone) == f"{place} of 6"
            answer(phone, first)
        assert phone.current_url == f"{url}thanks"
        assert "Thank you" in phone.find_element("tag name", "h1").text
        assert_no_overflow(phone)
        Client(port).answer_all(second)
        assert {u for u in requested_urls(phone) if not u.startswith(url)} == set()
        assert [entry for entry in console_errors(phone) if "ERR_CONNECTION_REFUSED" not in entry["message"]] == []
        reported = run(python("retrieval/run.py", "study", "report", folder), cwd=folder.parent)

    assert reported.returncode == 0, reported.stderr
    check_report(json.loads((folder / "report" / "report.json").read_text()))
    assert "83.3 ± 23.6" in reported.stdout
    look_at_report(phone, folder / "report" / "report.html")


def check_report(report: dict) -> None:  # type: ignore[type-arg]
    """By hand: rater 1 said yes to 2 of 3 true and 1 of 2 retrieved pairs, rater 2 to 3 of 3 and 0 of 3."""
    assert (report["num_agreed"], report["num_begun"], report["num_finished"]) == (2, 2, 2)
    assert (report["num_answers"], report["num_unplayable"], report["left_out"]) == (11, 1, [])
    true, retrieved, difference = report["rates"]["true"], report["rates"]["retrieved"], report["difference"]
    assert true["mean"] == pytest.approx(5 / 6)
    assert true["standard_deviation"] == pytest.approx(math.sqrt(1 / 18))
    assert (retrieved["mean"], retrieved["standard_deviation"]) == pytest.approx((1 / 4, math.sqrt(1 / 8)))
    # t(0.975, 1) = 12.7062; differences 1/6 and 1, whose mean has the standard error 5/12.
    assert difference["mean"] == pytest.approx(7 / 12)
    assert (difference["low"], difference["high"]) == pytest.approx(
        (7 / 12 - 12.7062 * 5 / 12, 7 / 12 + 12.7062 * 5 / 12)
    )
    # Of 4 ways to swap, both equal signs give as much.
    assert (report["p_value"], report["least_p_value"]) == (0.5, 0.5)
    # 5 pairs with two answers: 3 alike; 6 yes and 4 no: 1 − 9·4 / (100 − 36 − 16).
    assert report["agreement"]["all"] == {
        "krippendorff_alpha": pytest.approx(0.25),
        "agreeing_share": pytest.approx(0.6),
        "krippendorff_alpha_interval": report["agreement"]["all"]["krippendorff_alpha_interval"],
        "agreeing_share_interval": report["agreement"]["all"]["agreeing_share_interval"],
    }
    low, high = report["agreement"]["all"]["agreeing_share_interval"]
    assert 0 <= low < 0.6 < high <= 1
    assert report["published"]["true"] == {"mean": 0.716, "standard_deviation": 0.121}


def look_at_report(phone: Chrome, page: Path) -> None:
    phone.get(page.as_uri())
    assert requested_urls(phone) == [page.as_uri()]
    assert console_errors(phone) == []
    rows = phone.execute_script(
        "return [...document.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert rows[0] == ["True pairs", "83.3 ± 23.6", "0.0 to 100.0", "71.6 ± 12.1"]
    assert rows[1][:2] == ["Retrieved pairs", "25.0 ± 35.4"]
    images = phone.execute_script("return [...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(images) == 7
    assert all(images)
    assert_no_overflow(phone)
    assert (page.parent / "figures.png").read_bytes().startswith(b"\x89PNG")
    assert "| True pairs | 83.3 ± 23.6 |" in (page.parent / "report.md").read_text(encoding="utf-8")


def test_the_token_is_asked_for(phone: Chrome, folder: Path) -> None:
    with serving(folder, "--host", "0.0.0.0") as server:
        phone.execute_cdp_cmd("Network.clearBrowserCookies", {})
        phone.get(f"{server.url}pairs/1")
        assert "Enter your token" in phone.find_element("tag name", "h1").text
        assert phone.find_elements("css selector", "img, audio") == []
        phone.find_element("id", "token").send_keys("abcd-efgh-jkmn")
        press(phone, "button.main")
        assert "This token is wrong" in phone.find_element("css selector", "[role=alert]").text
        assert_it_fits(phone)
        phone.find_element("id", "token").send_keys(server.token)
        press(phone, "button.main")
        assert "Can you hear" in phone.find_element("tag name", "h1").text
        press(phone, "button.main")
        assert_it_shows_and_sounds(phone)
        assert count(phone) == "1 of 6"
