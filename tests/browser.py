"""A real headless Chromium for tests that look at pages, with no way out to a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conftest import missing

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@contextmanager
def open_chromium(profile: Path, *, width: int = 1280, height: int = 1000) -> Iterator[Chrome]:
    """A browser that logs its console and every request; skips the test (or fails it, see `missing`) without one.

    Args:
        profile: an empty folder for the browser's profile.
        width: of the window in pixels.
        height: of the window in pixels.
    """
    driver_path, browser_path = shutil.which("chromedriver"), shutil.which("chromium")
    if driver_path is None or browser_path is None:
        missing("browser", "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = browser_path or ""
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"),
        *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--autoplay-policy=no-user-gesture-required", f"--window-size={width},{height}"),
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver_path))
    try:
        yield driver
    finally:
        driver.quit()


def console_errors(driver: Chrome) -> list[dict[str, Any]]:
    """What the page has complained of since this was last asked."""
    return [entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def requested_urls(driver: Chrome) -> list[str]:
    """Every address that has been asked for since this was last asked, but data URIs and the browser's own pages."""
    import json

    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # On a busy machine the new-tab page, which no page can ask for, may still load when a test begins.
    return [url for url in requests if not url.startswith(("data:", "chrome:", "chrome-untrusted:"))]
