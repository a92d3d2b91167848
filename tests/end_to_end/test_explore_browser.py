"""The explorer in a real browser: it answers by image and by sound, its maps and players work, and it asks nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from browser import console_errors, open_chromium, requested_urls
from explorer_server import explorer
from listening_shards import write_listening_shards, write_tiny_towers
from page_widths import PHONE_PIXELS, nothing_wider_than_screen, screen_of

from shards.streaming.reading import ShardSet

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NUM_PAIRS = 30
WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explore")
    write_listening_shards(folder / "shards", {"train": 8, "test": NUM_PAIRS})
    write_tiny_towers(folder / "model")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with explorer(folder / "model", folder / "shards", "--layout", "tsne") as address:
        yield address


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with open_chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def page(chromium: Chrome, address: str) -> Chrome:
    chromium.get(address)
    wait_for(lambda: element(chromium, "#random-sound") and element(chromium, "#world svg.map"))
    requested_urls(chromium)
    console_errors(chromium)
    return chromium


def wait_for(what: Callable[[], Any]) -> Any:
    """What a page comes to, within a minute."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        result = what()
        if result:
            return result
        time.sleep(0.2)
    raise AssertionError("the page did not come to it")


def element(page: Chrome, selector: str) -> Any:
    found = page.find_elements("css selector", selector)
    return found[0] if found else None


def click_tab(page: Chrome, name: str) -> None:
    next(tab for tab in page.find_elements("css selector", "button[role=tab]") if tab.text == name).click()


def answers(page: Chrome) -> list[int]:
    return [int(card.get_attribute("data-pair")) for card in page.find_elements("css selector", "#answers li.card")]


def asked_title(page: Chrome) -> str:
    title = element(page, "#question .asked .title")
    return title.text if title else ""


def embeddings(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and sounds as the explorer keeps them."""
    files = {name: next((folder / "model").rglob(f"{name}_embeddings.npy")) for name in ("image", "sound")}
    return np.load(files["image"]), np.load(files["sound"])


def nearest(query: np.ndarray, gallery: np.ndarray, count: int = 8) -> list[int]:
    return np.argsort(np.linalg.norm(gallery.astype(float) - query, axis=1), kind="stable")[:count].tolist()


def test_a_sound_of_the_set_is_answered_with_images(page: Chrome, folder: Path, address: str) -> None:
    element(page, "#random-sound").click()
    found = wait_for(lambda: answers(page))
    images, sounds = embeddings(folder)
    samples = list(ShardSet.open(folder / "shards").samples("test"))
    titles = [sample.metadata()["title"] for sample in samples]
    number = titles.index(asked_title(page))
    assert found == nearest(sounds[number], images)
    shown = [card.text for card in page.find_elements("css selector", "#answers li .title")]
    assert shown == [titles[answer] for answer in found]
    shown = [card.text.split()[2] for card in page.find_elements("css selector", "#answers li .place")]
    assert shown == [f"{np.linalg.norm(images[answer].astype(float) - sounds[number]):.3f}" for answer in found]
    # The map: answers light up where they are, and heat lies over the places.
    wait_for(lambda: len(page.find_elements("css selector", "#world g.answer")) == 8)
    assert element(page, "#world image.heat") is not None
    pictures = page.execute_script("return [...document.querySelectorAll('#answers img')].map(i => i.naturalWidth)")
    assert len(pictures) == 8 * 3
    assert all(width > 0 for width in pictures)
    # Nothing was asked of any other host.
    hosts = {url.split("/")[2] for url in requested_urls(page) if url.startswith(("http", "ws"))}
    assert hosts <= {address.split("/")[2]}
    assert [error for error in console_errors(page) if error["level"] == "SEVERE"] == []


def test_a_player_plays(page: Chrome) -> None:
    element(page, "#random-image").click()
    wait_for(lambda: answers(page))
    page.execute_script("window.player = document.querySelector('#answers audio'); window.player.play()")
    assert wait_for(lambda: page.execute_script("return window.player.currentTime > 0.05"))


def test_an_image_of_ones_own_is_answered_with_sounds(page: Chrome, folder: Path) -> None:
    images, sounds = embeddings(folder)
    sample = ShardSet.open(folder / "shards").sample("test", 11)
    own = folder / "own.jpg"
    own.write_bytes(sample.image_bytes())
    click_tab(page, "Image")
    wait_for(lambda: element(page, "#own-image input[type=file]")).send_keys(str(own))
    found = wait_for(lambda: answers(page))
    # The same pixels as in the set are the same embedding.
    assert found == nearest(images[11], sounds)
    assert "own.jpg" in element(page, "#question").text


def test_a_sound_of_ones_own_is_answered_with_images(page: Chrome, folder: Path) -> None:
    times = np.arange(5 * 22_050) / 22_050
    own = folder / "own.wav"
    soundfile.write(own, 0.3 * np.sin(2 * np.pi * 440 * times), 22_050)
    click_tab(page, "Sound")
    wait_for(lambda: element(page, "#own-sound input[type=file]")).send_keys(str(own))
    assert len(wait_for(lambda: answers(page))) == 8
    assert element(page, "#question audio") is not None


def test_a_pair_is_asked_for_by_its_key(page: Chrome, folder: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    sample = ShardSet.open(folder / "shards").sample("test", 17)
    field = element(page, "#key textarea, #key input")
    field.send_keys("no such key", Keys.ENTER)
    wait_for(lambda: "no pair here has the key 'no such key'" in element(page, "#question").text)
    field.clear()
    field.send_keys(sample.key, Keys.ENTER)
    wait_for(lambda: asked_title(page) == sample.metadata()["title"])
    images, sounds = embeddings(folder)
    assert answers(page) == nearest(sounds[17], images)


def test_a_click_on_the_map_asks_with_the_nearest_place(page: Chrome, folder: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    drawing = element(page, "#world svg.map")
    ActionChains(page).move_to_element_with_offset(drawing, 40, 10).click().perform()
    wait_for(lambda: answers(page))
    ring = wait_for(lambda: element(page, "#world g.asked"))
    box, its = ring.rect, drawing.rect
    clicked = np.array([its["width"] / 2 + 40, its["height"] / 2 + 10])
    middle = np.array([box["x"] + box["width"] / 2 - its["x"], box["y"] + box["height"] / 2 - its["y"]])
    places = page.execute_script(
        "const svg = document.querySelector('#world svg.map'); const box = svg.getBoundingClientRect();"
        "return [box.width / svg.viewBox.baseVal.width]"
    )[0]
    metadata = [sample.metadata() for sample in ShardSet.open(folder / "shards").samples("test")]
    title = asked_title(page)
    assert title in [entry["title"] for entry in metadata]
    # No other place is nearer to the click than the one with the ring.
    from shards.geography.map_view import choose_view

    longitudes, latitudes = (np.array([entry[name] for entry in metadata]) for name in ("longitude", "latitude"))
    points = choose_view(longitudes, latitudes).project(longitudes, latitudes) * places
    distances = np.linalg.norm(points - clicked, axis=1)
    chosen = [entry["title"] for entry in metadata].index(title)
    assert distances[chosen] <= distances.min() + 2  # pixels, for the border and for rounding
    assert np.linalg.norm(points - middle, axis=1).min() < 3


def test_the_embedding_is_drawn_and_asked(page: Chrome) -> None:
    click_tab(page, "The embedding")
    wait_for(lambda: element(page, "#plane svg.plane") and element(page, "#plane svg.plane").is_displayed())
    labels = page.find_elements("css selector", "input[type=radio][value=label]")
    page.execute_script("arguments[0].click()", labels[0])
    names = wait_for(lambda: "harbour" in element(page, "#plane .legend").text and element(page, "#plane .legend").text)
    assert all(name in names for name in ("meadow", "harbour", "town", "forest"))
    element(page, "#plane svg.plane").click()
    assert wait_for(lambda: answers(page))
    wait_for(lambda: element(page, "#plane circle.asked"))


def view_box(page: Chrome) -> list[float]:
    return [float(part) for part in element(page, "#world svg.map").get_dom_attribute("viewBox").split()]


def test_the_map_zooms_and_shows_the_heat_of_a_part(page: Chrome) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    whole = view_box(page)
    assert element(page, "[data-part=here]") is None
    element(page, "#random-sound").click()
    wait_for(lambda: element(page, "#world image.heat"))
    element(page, "[data-zoom=in]").click()
    near = view_box(page)
    assert near[2] == pytest.approx(whole[2] / 1.7)
    title = asked_title(page)
    element(page, "[data-part=here]").click()
    wait_for(lambda: element(page, "#world .part-heat rect"))
    # The new drawing is shown as the old one was.
    assert view_box(page) == near
    assert "compared with each other" in element(page, "#world .part-caption").text
    squares = page.execute_script(
        "const svg = document.querySelector('#world svg.map').getBoundingClientRect();"
        "return [...document.querySelectorAll('.part-heat rect')].map(r => r.getBoundingClientRect())"
        ".every(r => r.left >= svg.left - 1 && r.right <= svg.right + 1)"
    )
    assert squares
    # A move is no click.
    drawing = element(page, "#world svg.map")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", drawing)
    ActionChains(page).drag_and_drop_by_offset(drawing, 90, 30).perform()
    assert view_box(page)[0] < near[0]
    time.sleep(1)
    assert asked_title(page) == title
    element(page, "[data-part=all]").click()
    wait_for(lambda: element(page, "#world image.heat"))
    element(page, "[data-zoom=all]").click()
    assert view_box(page) == whole


def test_a_label_restricts_the_search_and_both_are_mixed(page: Chrome, folder: Path) -> None:
    metadata = [sample.metadata() for sample in ShardSet.open(folder / "shards").samples("test")]
    element(page, "#random-image").click()
    wait_for(lambda: answers(page))
    image = asked_title(page)
    element(page, "#labels input").click()
    count = sum(entry["label"] == "harbour" for entry in metadata)
    option = wait_for(lambda: element(page, f"[role=option][aria-label='harbour ({count})']"))
    option.click()
    wait_for(lambda: "selected pairs" in element(page, "#answers").text)
    assert {metadata[number]["label"] for number in answers(page)} == {"harbour"}
    wait_for(lambda: len(page.find_elements("css selector", "#world .dots circle")) == count)
    link = element(page, "#answers a.download")
    assert link.text == f"Download the nearest {count} as CSV"
    element(page, "#random-sound").click()
    wait_for(lambda: "Query: sound" in element(page, "#question").text)
    sound = asked_title(page)
    click_tab(page, "Mix")
    wait_for(lambda: element(page, "#mix-of") and image in element(page, "#mix-of").text)
    assert sound in element(page, "#mix-of").text
    element(page, "#mix").click()
    wait_for(lambda: asked_title(page) == f"{image} + {sound}")
    assert "image 50 %, sound 50 %" in element(page, "#question").text
    assert {metadata[number]["label"] for number in answers(page)} == {"harbour"}
    assert [error for error in console_errors(page) if error["level"] == "SEVERE"] == []


def test_it_fits_a_phone_and_leads_to_the_results(page: Chrome) -> None:
    nothing_wider_than_screen(page)
    element(page, "#random-sound").click()
    wait_for(lambda: answers(page))
    assert not element(page, "#question a.jump").is_displayed()
    nothing_wider_than_screen(page)
    with screen_of(page, PHONE_PIXELS):
        element(page, "#question a.jump").click()
        top = "return document.querySelector('#answers').getBoundingClientRect().top"
        wait_for(lambda: abs(page.execute_script(top)) < 60)
    click_tab(page, "The embedding")
    wait_for(lambda: element(page, "#plane svg.plane").is_displayed())
    nothing_wider_than_screen(page)
    assert "times the spread within a modality" in element(page, "#gap").text


def test_hostile_files_get_a_sentence_and_the_page_answers_on(page: Chrome, folder: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.png"
    write_png_bomb(bomb, 20_000)
    click_tab(page, "Image")
    wait_for(lambda: element(page, "#own-image input[type=file]")).send_keys(str(bomb))
    sentence = wait_for(lambda: element(page, "#question .refusal")).text
    assert "the image can't be used" in sentence
    assert "pixels" in sentence

    text = tmp_path / "not-a-sound.mp3"
    text.write_text("this is no sound\n" * 100, encoding="utf-8")
    click_tab(page, "Sound")
    wait_for(lambda: element(page, "#own-sound input[type=file]")).send_keys(str(text))
    wait_for(lambda: "the sound can't be used" in element(page, "#question").text)
    assert "not-a-sound.mp3" in element(page, "#question").text

    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(100_000_000)
    page.refresh()
    wait_for(lambda: element(page, "#random-sound"))
    click_tab(page, "Sound")
    wait_for(lambda: element(page, "#own-sound input[type=file]")).send_keys(str(huge))
    wait_for(lambda: "exceed" in element(page, "body").text.lower())

    click_tab(page, "The set")
    element(page, "#random-sound").click()
    assert len(wait_for(lambda: answers(page))) == 8


def write_png_bomb(path: Path, side: int) -> None:
    """A valid grey PNG of side × side pixels, all black: 400 MB of pixels in 400 kB of file."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    deflate = zlib.compressobj(9)
    row = bytes(side + 1)
    pixels = b"".join(deflate.compress(row) for _ in range(side)) + deflate.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
