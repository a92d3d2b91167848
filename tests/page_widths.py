"""Whether a page fits a phone: nothing may be wider than the screen, unless it scrolls in a box of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PHONE_PIXELS = 400
PHONE_HEIGHT = 860

FIND_WIDE = """
const folded = [...document.querySelectorAll("details:not([open])")];
for (const part of folded) part.open = true;
const screen = window.innerWidth;
const scrolls = (style) => ["auto", "scroll"].includes(style.overflowX) || style.textOverflow === "ellipsis";
function isSeen(element) {
  const box = element.getBoundingClientRect();
  return box.width > 1 && box.height > 1 && element.checkVisibility({opacityProperty: true, visibilityProperty: true});
}
function isInScrollBox(element) {
  for (let outer = element.parentElement; outer && outer !== document.body; outer = outer.parentElement) {
    const box = outer.getBoundingClientRect();
    if (scrolls(getComputedStyle(outer)) && box.left >= -1 && box.right <= screen + 1) return true;
  }
  return false;
}
const wide = [];
for (const element of document.body.querySelectorAll("*")) {
  if (element.closest("svg") !== null && element.localName !== "svg") continue;  // a drawing clips what it holds
  const box = element.getBoundingClientRect();
  if ((box.right > screen + 1 || box.left < -1) && isSeen(element) && !isInScrollBox(element)) {
    const name = element.id ? `#${element.id}` : [...element.classList].map((part) => `.${part}`).join("");
    wide.push(`${element.localName}${name}: ${Math.round(box.left)} to ${Math.round(box.right)}`);
  }
}
const page = document.scrollingElement.scrollWidth;
for (const part of folded) part.open = false;
if (page > screen) wide.unshift(`the page: ${page} of ${screen} pixels`);
return wide;
"""


@contextmanager
def screen_of(driver: Chrome, width: int, height: int = PHONE_HEIGHT) -> Iterator[None]:
    """The open page on a screen of this size in pixels; a window of Chromium itself can't be narrower than 500."""
    # Not mobile: that would zoom out until a page that is too wide fits.
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def wide_parts(driver: Chrome, width: int = PHONE_PIXELS) -> list[str]:
    """What of the open page sticks out of a screen `width` pixels wide, with everything unfolded; for messages.

    Parts are left out that can be scrolled to in a box that fits the screen, and texts that end in an ellipsis.
    """
    with screen_of(driver, width):
        assert driver.execute_script("return window.innerWidth") == width
        found = driver.execute_script(FIND_WIDE)
    assert isinstance(found, list)
    return found


def nothing_wider_than_screen(driver: Chrome, width: int = PHONE_PIXELS) -> None:
    """Fails if anything of the open page is wider than a screen of `width` pixels; see `wide_parts`."""
    found = wide_parts(driver, width)
    assert not found, f"{driver.current_url[:100]} at {width} pixels:\n" + "\n".join(found[:20])


def save_screenshot(driver: Chrome, path: Path, width: int) -> None:
    """Writes a picture of the whole open page, as it looks on a screen of this width."""
    with screen_of(driver, width):
        height = driver.execute_script("return document.scrollingElement.scrollHeight")
    with screen_of(driver, width, height):
        driver.save_screenshot(str(path))
