"""The check for phones finds what is too wide, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import open_chromium
from page_widths import nothing_wider_than_screen, wide_parts

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.browser

WIDE = '<p style="width: 900px; height: 20px; margin: 0">wide</p>'


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def show(chromium: Chrome, path: Path, body: str) -> Chrome:
    path.write_text(f"<!doctype html><title>a page</title><body style='margin: 0'>{body}", encoding="utf-8")
    chromium.get(path.as_uri())
    return chromium


def test_what_sticks_out_is_named(chromium: Chrome, tmp_path: Path) -> None:
    page = show(chromium, tmp_path / "a.html", f"<main id='whole'>{WIDE}</main>")
    assert wide_parts(page) == ["the page: 900 of 400 pixels", "p: 0 to 900"]
    with pytest.raises(AssertionError, match="p: 0 to 900"):
        nothing_wider_than_screen(page)
    nothing_wider_than_screen(page, 1000)


def test_what_is_cut_off_or_folded_counts_too(chromium: Chrome, tmp_path: Path) -> None:
    page = show(chromium, tmp_path / "a.html", f"<div style='overflow: hidden'>{WIDE}</div>")
    assert wide_parts(page) == ["p: 0 to 900"]
    page = show(chromium, tmp_path / "b.html", f"<details><summary>more</summary>{WIDE}</details>")
    assert "p: 0 to 900" in wide_parts(page)


def test_what_scrolls_in_a_box_of_its_own_does_not(chromium: Chrome, tmp_path: Path) -> None:
    nothing_wider_than_screen(show(chromium, tmp_path / "a.html", f"<div style='overflow-x: auto'>{WIDE}</div>"))
    box = f"<div style='overflow-x: auto; width: 600px'>{WIDE}</div>"
    assert "div: 0 to 600" in wide_parts(show(chromium, tmp_path / "b.html", box))
    drawing = "<svg width='300' height='20'><rect width='900' height='9'/></svg>"
    nothing_wider_than_screen(show(chromium, tmp_path / "c.html", drawing))
