"""The comparison and the downstream report in a real browser: nothing is wider than a phone; marks are explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from browser import console_errors, open_chromium, requested_urls
from comparison_rows import Plan, done_row
from page_widths import nothing_wider_than_screen, screen_of

from downstream.reporting.report import report_from
from downstream.results import Results, write_predictions
from launch.comparison.report import write_report

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

METHOD = "symmetric-contrastive-with-a-queue-and-a-name-without-end"
CLASSES = [f"class of land number {number}" for number in range(12)]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_chromium(tmp_path_factory.mktemp("profile"), width=1400) as driver:
        yield driver


def opened(driver: Chrome, page: Path) -> Chrome:
    requested_urls(driver)
    console_errors(driver)
    driver.get(page.as_uri())
    assert requested_urls(driver) == [page.as_uri()]
    assert console_errors(driver) == []
    return driver


def test_a_comparison_fits_a_phone(chromium: Chrome, tmp_path: Path) -> None:
    rows = [done_row(tmp_path, name, seed, 9 + seed * n) for n, name in enumerate((METHOD, "b")) for seed in (0, 1)]
    page = opened(chromium, write_report(Plan(), rows, tmp_path))
    nothing_wider_than_screen(page)
    nothing_wider_than_screen(page, 1400)
    shown = "const c = document.querySelector(arguments[0]); return [getComputedStyle(c).display, c.innerText]"
    with screen_of(page, 400):
        assert page.execute_script(shown, "tbody th small") == ["block", "ResNet-18"]
        assert page.execute_script("return document.querySelector('figure img').currentSrc.length") > 1000
        # A method and a score are seen at once.
        edges = page.execute_script(
            "return [...document.querySelector('tbody tr').children].map(c => c.getBoundingClientRect().right)"
        )
        assert [edge <= 400 for edge in edges if edge][:2] == [True, True]
    with screen_of(page, 1400):
        assert page.execute_script(shown, "tbody th small")[0] == "none"
    assert "● can't be told from the best mean" in page.execute_script("return document.body.innerText")


def test_a_downstream_report_fits_a_phone(chromium: Chrome, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for seed in (0, 1):
        details = {"classes": CLASSES}
        epochs = [{"epoch": 0, "accuracy": 0.8 + seed / 100}]
        record = ("ucmerced", f"runs/{METHOD}", "resnet18", "linear", 5, 60, epochs, 1.0, "trunk", seed, "s", 0.5)
        Results(*record, details=details).write(tmp_path / f"{seed}")
        rows = [[str(n), CLASSES[n % 12], CLASSES[generator.integers(12)]] for n in range(60)]
        write_predictions(tmp_path / f"{seed}", ["key", "class", "predicted"], rows)
    report_from([str(tmp_path), "--out", str(tmp_path / "report")])
    page = opened(chromium, tmp_path / "report" / "report.html")
    nothing_wider_than_screen(page)
    nothing_wider_than_screen(page, 1400)
    with screen_of(page, 400):
        # Class names keep their size; the picture scrolls in its box.
        widths = "[...document.images].map(i => i.getBoundingClientRect().width / i.naturalWidth)"
        ratios = page.execute_script(f"return {widths}")
    assert ratios
    assert min(ratios) > 0.99
