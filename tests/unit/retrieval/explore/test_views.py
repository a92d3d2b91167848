"""The explorer's drawings: places where they are, heat where it is like the question, clicks that find the nearest."""

from __future__ import annotations

import base64
import re

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.explore import world_view
from retrieval.explore.layout import Layout
from retrieval.explore.page import average_rank
from retrieval.explore.part_heat import Part, draw_part_heat
from retrieval.explore.plane_view import IMAGE_COLOUR, SOUND_COLOUR, PlaneView
from retrieval.explore.world_view import SCALE, WorldView


def layer(svg: str, kind: str) -> NDArray[np.uint8]:
    """One of the drawing's raster layers, (height, width, 4)."""
    found = re.search(rf'<image class="{kind}" href="data:image/png;base64,([^"]+)"', svg)
    assert found is not None
    return cv2.imdecode(np.frombuffer(base64.b64decode(found.group(1)), np.uint8), cv2.IMREAD_UNCHANGED)


def marks(svg: str, kind: str) -> list[tuple[float, float, str]]:
    pattern = rf'<g class="{kind}" transform="translate\(([\d.]+) ([\d.]+)\)"><circle[^>]*/><text[^>]*>(\d*)</text>'
    return [(float(x), float(y), text) for x, y, text in re.findall(pattern, svg)]


PLACES = np.array([[0, 0], [100, 50], [np.nan, np.nan], [-120, -30]], np.float32)


def circles(svg: str) -> list[tuple[float, float]]:
    dots = svg.split('<g class="dots"')[1].split("</g>")[0]
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', dots)]


def test_dots_lie_where_the_places_are() -> None:
    view = WorldView(PLACES)
    assert view.located.tolist() == [0, 1, 3]
    points = view.view.project(*PLACES[[0, 1, 3]].T.astype(float))
    np.testing.assert_allclose(circles(view.draw()), points, atol=0.01)
    # Of a choice, the others are neither drawn nor found.
    among = np.array([False, True, True, True])
    np.testing.assert_allclose(circles(view.draw(among=among)), points[1:], atol=0.01)
    assert view.nearest(*points[0]) == 0
    assert view.nearest(*points[0], among) != 0
    assert view.nearest(0, 0, np.zeros(4, bool)) is None
    assert circles(view.draw(np.ones(4, np.float32), among=np.zeros(4, bool))) == []


def test_many_dots_are_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_view, "MOST_CIRCLES", 2)
    view = WorldView(PLACES)
    opacity = layer(view.draw(), "places")[..., 3]
    for x, y in view.view.project(*PLACES[[0, 1, 3]].T.astype(float)) * SCALE:
        assert opacity[int(y), int(x)] > 100
    assert (opacity > 0).mean() < 0.01


def test_heat_of_a_part_compares_the_places_in_it() -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform(0, 100, (500, 2)).astype(np.float32)
    distances = generator.uniform(1, 9, 500).astype(np.float32)
    part = Part(20, 10, 48, 30)
    svg, count = draw_part_heat(part, points, distances)
    inside = [n for n in range(500) if 20 <= points[n, 0] <= 68 and 10 <= points[n, 1] <= 40]
    assert count == len(inside)
    # Literally: each place's share of places that are further away, averaged over squares of 48 / 24 units.
    expected: dict[tuple[int, int], list[float]] = {}
    for number in inside:
        similarity = np.mean([distances[other] > distances[number] for other in inside if other != number])
        square = (int((points[number, 0] - 20) // 2), int((points[number, 1] - 10) // 2))
        expected.setdefault(square, []).append(float(similarity))
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)".*?<title>(\d+) places?, similarity ([\d.]+)</title>', svg)
    squares = {((float(x) - 20) // 2, (float(y) - 10) // 2): (int(n), float(value)) for x, y, n, value in found}
    assert set(squares) == set(expected)
    for square, values in expected.items():
        assert squares[square] == (len(values), pytest.approx(np.mean(values), abs=0.006))
    # The most similar square is the darkest.
    fills = dict(zip(squares, re.findall(r'fill="#(\w+)"', svg), strict=True))
    brightness = {square: sum(bytes.fromhex(fill)) for square, fill in fills.items()}
    assert min(brightness, key=brightness.__getitem__) == max(squares, key=lambda square: squares[square][1])


def test_a_part_without_places_has_no_heat_and_says_so() -> None:
    assert draw_part_heat(Part(5, 5, 1, 1), np.zeros((3, 2), np.float32), np.ones(3, np.float32)) == ("", 0)
    view = WorldView(PLACES)
    distances = np.arange(4, dtype=np.float32)
    assert "no places in this part" in view.draw(distances, part=Part(1, 1, 2, 2))
    svg = view.draw(distances, part=Part(0, 0, 1000, 1000))
    assert "its 3 places compared" in svg
    assert '<image class="heat"' not in svg


def test_the_heat_is_where_distances_are_small() -> None:
    generator = np.random.default_rng(0)
    west = np.stack([generator.normal(-90, 8, 200), generator.normal(40, 8, 200)], 1)
    east = np.stack([generator.normal(90, 8, 200), generator.normal(40, 8, 200)], 1)
    view = WorldView(np.concatenate([west, east]).astype(np.float32))
    distances = np.concatenate([generator.uniform(5, 6, 200), generator.uniform(1, 2, 200)]).astype(np.float32)
    heat = layer(view.draw(distances), "heat")[..., 3].astype(float)
    middle = heat.shape[1] // 2
    assert heat[:, middle:].max() > 150
    assert heat[:, :middle].max() < 10
    # The same question the other way round.
    heat = layer(view.draw(-distances), "heat")[..., 3].astype(float)
    assert heat[:, :middle].max() > 150
    assert heat[:, middle:].max() < 10
    assert "heat" not in view.draw()


def test_collapsed_embeddings_have_no_heat_and_no_rank() -> None:
    places = np.stack([np.linspace(-90, 90, 200), np.linspace(-40, 40, 200)], 1).astype(np.float32)
    assert layer(WorldView(places).draw(np.ones(200, np.float32)), "heat")[..., 3].max() == 0
    assert average_rank(np.ones(9, np.float32), 4) == 5
    assert average_rank(np.array([3, 1, 2, 2], np.float32), 0) == 4
    assert average_rank(np.array([3, 1, 2, 2], np.float32), 1) == 1
    assert average_rank(np.array([3, 1, 2, 2], np.float32), 2) == 2.5


def test_answers_and_the_asked_place_are_marked_and_those_without_a_place_are_not() -> None:
    places = np.array([[0, 0], [100, 50], [np.nan, np.nan], [-120, -30]], np.float32)
    view = WorldView(places)
    svg = view.draw(np.arange(4, dtype=np.float32), [3, 2, 1], 0)
    points = view.view.project(*places[[3, 1]].T.astype(float))
    assert sorted(text for _, _, text in marks(svg, "answer")) == ["1", "3"]
    by_place = {text: (x, y) for x, y, text in marks(svg, "answer")}
    np.testing.assert_allclose([by_place["1"], by_place["3"]], points, atol=0.06)
    assert len(marks(svg, "asked")) == 1


def test_a_click_finds_the_nearest_located_place() -> None:
    generator = np.random.default_rng(1)
    places = np.stack([generator.uniform(-170, 170, 50), generator.uniform(-50, 70, 50)], 1).astype(np.float32)
    places[::7] = np.nan
    view = WorldView(places)
    for x, y in generator.uniform(0, 400, (20, 2)):
        points = {n: view.view.project(*places[n : n + 1].T.astype(float))[0] for n in range(50) if n % 7}
        expected = min(points, key=lambda n: float(np.hypot(*(points[n] - [x, y]))))
        assert view.nearest(x, y) == expected


def test_no_place_at_all_is_no_map() -> None:
    with pytest.raises(ValueError, match="coordinates"):
        WorldView(np.full((3, 2), np.nan, np.float32))


def plane(labels: list[int], names: list[str]) -> PlaneView:
    generator = np.random.default_rng(0)
    count = len(labels)
    numbers = np.arange(0, 2 * count, 2)
    layout = Layout(
        numbers,
        generator.normal(size=(count, 2)).astype(np.float32),
        generator.normal(3, 1, (count, 2)).astype(np.float32),
        "a map",
    )
    of_all = np.full(2 * count, -1, np.int32)
    of_all[numbers] = labels
    return PlaneView(layout, of_all, names)


def test_a_click_on_the_plane_finds_pair_and_modality() -> None:
    view = plane([0, 1, 0, 1, 0], ["a", "b"])
    svg = view.draw("modality", [(4, "image", "answer"), (4, "sound", "asked"), (3, "image", "answer")])
    circles = {
        kind: (float(x), float(y)) for kind, x, y in re.findall(r'class="(\w+)" cx="([\d.]+)" cy="([\d.]+)"', svg)
    }
    # Pair 3 is not in the sample that is drawn.
    assert set(circles) == {"answer", "asked"}
    assert view.nearest(*circles["answer"]) == (4, "image")
    assert view.nearest(*circles["asked"]) == (4, "sound")


def test_untrusted_labels_stay_text_and_the_many_share_a_colour() -> None:
    names = ["<script>x</script>", *(f"kind {i}" for i in range(30))]
    labels = [0] * 5 + list(range(1, 31)) + [-1]
    svg = plane(labels, names).draw("label")
    assert "<script>" not in svg
    assert "&lt;script&gt;" in svg
    # Twenty labels, the others, and the two shapes.
    assert svg.count("<li>") == 20 + 1 + 2
    assert '<i class="triangle"' in svg
    assert "other or no label" in svg
    by_modality = plane(labels, names).draw("modality")
    assert f'<li><i class="circle" style="background:{IMAGE_COLOUR}"></i>images</li>' in by_modality
    assert f'<li><i class="triangle" style="background:{SOUND_COLOUR}"></i>sounds</li>' in by_modality
    assert "dense" in plane(labels, names).draw("density")


def test_sets_without_labels_say_so() -> None:
    assert not plane([-1] * 6, []).has_labels
    assert plane([-1, 0, -1, -1, -1], ["a"]).has_labels
