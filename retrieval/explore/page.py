"""The explorer's page: query on the left; world map, embedding and results on the right; facts at the bottom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import jinja2
import numpy as np
from numpy.typing import NDArray

from retrieval.explore.answers import Answer, Answerer
from retrieval.explore.atlas import Modality
from retrieval.explore.plane_view import Colouring, PlaneView
from retrieval.explore.questions import OTHER, Question, Questioner
from retrieval.explore.upload_folder import UploadFolder
from retrieval.explore.world_view import WorldView
from retrieval.gallery import format_rank
from shards.errors import UserError

NUM_ANSWERS = 8
STATE_SECONDS = 3600
MOST_UNITS = 1e6
"""Largest coordinate of a drawing that a click can have."""
NOTHING_NEW = (gr.skip(), gr.skip(), gr.skip())
TITLE = "Earshot explorer"

# Sends clicks on a pair's button, or on a drawing, to Python with the pair or the position.
CLICKS = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-number]");
  if (button) {
    trigger("click", {number: Number(button.dataset.number), modality: button.dataset.modality});
    return;
  }
  const drawing = event.target.closest("svg");
  if (drawing) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    trigger("click", {x: point.x, y: point.y});
  }
});
"""


@dataclass(frozen=True)
class Asked:
    """A visitor's last query; `number` is None for their own image or sound."""

    modality: Modality
    embedding: NDArray[np.float32]
    number: int | None
    answers: list[int]


class ExplorerPage:
    """The behaviour of the page, without its layout.

    Args:
        questioner: creates queries.
        answerer: answers them.
        world: the map, None if no pair has coordinates.
        plane: the embedding in two dimensions, None if there are too few pairs.
        facts: facts about weights and set, name → text, for the bottom of the page.
        uploads: the folder of visitors' own files.
    """

    def __init__(
        self,
        questioner: Questioner,
        answerer: Answerer,
        world: WorldView | None,
        plane: PlaneView | None,
        facts: dict[str, str],
        uploads: UploadFolder,
    ) -> None:
        self.questioner, self.answerer = questioner, answerer
        self.world, self.plane, self.facts, self.uploads = world, plane, facts, uploads
        self.atlas = questioner.atlas
        self.num_pairs = len(self.atlas)
        self._random = np.random.default_rng()
        environment = jinja2.Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
        )
        self._cards = environment.from_string(_template("explore_cards.html.j2"))
        self.texts: Any = environment.from_string(_template("explore_texts.html.j2")).module

    def ask(self, make: Callable[[], Question]) -> tuple[Any, Any, Any]:
        """Answers a query; returns the state to keep, the query's card and the cards of the results.

        If the query is invalid, the results stay as they are, and the query's card shows the error.
        """
        try:
            question = make()
            answers = self.answerer.answer(question, NUM_ANSWERS)
        except UserError as error:
            return gr.skip(), self._cards.render(refusal=str(error)), gr.skip()
        kept = Asked(question.modality, question.embedding, question.number, [answer.number for answer in answers])
        return kept, self._cards.render(question=question), self._answers_cards(question, answers)

    def _answers_cards(self, question: Question, answers: Sequence[Answer]) -> str:
        own_rank = None
        if question.number is not None:
            distances = self.atlas.distances(OTHER[question.modality], question.embedding)
            own_rank = format_rank(average_rank(distances, question.number))
        return self._cards.render(answers=answers, asked=question.modality, own_rank=own_rank, count=self.num_pairs)

    def at_random(self, modality: Modality) -> tuple[Any, Any, Any]:
        """Searches with a random pair of the set."""
        return self.of_pair(int(self._random.integers(self.num_pairs)), modality)

    def of_pair(self, number: Any, modality: Any) -> tuple[Any, Any, Any]:
        """Searches with a pair of the set; an invalid number or modality is ignored."""
        # Clicks come from the browser, which may send anything.
        is_pair = type(number) is int and 0 <= number < self.num_pairs
        if not is_pair or not isinstance(modality, str) or modality not in OTHER:
            return NOTHING_NEW
        return self.ask(lambda: self.questioner.of_pair(number, modality))

    def of_key(self, key: str, modality: Any) -> tuple[Any, Any, Any]:
        """Searches with the pair of this key."""
        if not key.strip() or modality not in OTHER:
            return NOTHING_NEW
        return self.ask(lambda: self.questioner.of_pair(self.questioner.number_of(key.strip()), modality))

    def of_image_file(self, path: str | None) -> tuple[Any, Any, Any]:
        """Searches with a visitor's image."""
        return self._of_file(path, self.questioner.of_image_file)

    def of_sound_file(self, path: str | None) -> tuple[Any, Any, Any]:
        """Searches with a visitor's sound."""
        return self._of_file(path, self.questioner.of_sound_file)

    def _of_file(self, path: str | None, question_of: Callable[[Path], Question]) -> tuple[Any, Any, Any]:
        if not path:
            return NOTHING_NEW

        def make() -> Question:
            with self.uploads.private_copy(Path(path)) as copy:
                return question_of(copy)

        return self.ask(make)

    def clicked_card(self, event: gr.EventData) -> tuple[Any, Any, Any]:
        """Searches with the pair whose button was clicked."""
        data = _clicked(event)
        return self.of_pair(data.get("number"), data.get("modality"))

    def clicked_world(self, modality: Modality, event: gr.EventData) -> tuple[Any, Any, Any]:
        """Searches with the place nearest to the click."""
        point = _point(event)
        if point is None or self.world is None:
            return NOTHING_NEW
        return self.of_pair(self.world.nearest(*point), modality)

    def clicked_plane(self, event: gr.EventData) -> tuple[Any, Any, Any]:
        """Searches with the image or sound whose point is nearest to the click."""
        point = _point(event)
        if point is None or self.plane is None:
            return NOTHING_NEW
        return self.of_pair(*self.plane.nearest(*point))

    def draw_world(self, kept: Asked | None) -> str:
        """Draws the map with the heat and the results of the last query."""
        if self.world is None:
            return ""
        if kept is None:
            return str(self.world.draw())
        distances = self.atlas.distances(OTHER[kept.modality], kept.embedding)
        return str(self.world.draw(distances, kept.answers, kept.number))

    def draw_plane(self, kept: Asked | None, colouring: Colouring) -> str:
        """Draws the embedding with the last query and its results."""
        if self.plane is None:
            return ""
        marked: list[tuple[int, Modality, str]] = []
        if kept is not None:
            marked = [(number, OTHER[kept.modality], "answer") for number in kept.answers]
            marked += [] if kept.number is None else [(kept.number, kept.modality, "asked")]
        return str(self.plane.draw(colouring, marked))


def _template(name: str) -> str:
    return resources.files("retrieval.explore").joinpath("templates", name).read_text(encoding="utf-8")


def average_rank(distances: NDArray[np.float32], number: int) -> float:
    """The rank of one pair by its distance, 1 for the nearest; ties have their average rank."""
    nearer, tied = (int(found.sum()) for found in (distances < distances[number], distances == distances[number]))
    return nearer + (tied + 1) / 2


def _clicked(event: gr.EventData) -> dict[str, Any]:
    return event._data if isinstance(event._data, dict) else {}


def _point(event: gr.EventData) -> tuple[float, float] | None:
    data = _clicked(event)
    x, y = data.get("x"), data.get("y")
    if not isinstance(x, int | float) or not isinstance(y, int | float):
        return None
    return (float(x), float(y)) if abs(x) < MOST_UNITS and abs(y) < MOST_UNITS else None


def build_page(page: ExplorerPage) -> gr.Blocks:
    """Lays out the page and connects its events."""
    texts = page.texts
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 600)) as blocks:
        _html(texts.heading(page.num_pairs), "heading")
        kept = gr.State(None, time_to_live=STATE_SECONDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                ask = _ask_panel(page)
                question = _html(texts.hint(), "question")
            with gr.Column(scale=3, min_width=480), gr.Tabs():
                with gr.Tab("The world"):
                    _html(texts.world(len(page.world.located) if page.world else 0, page.num_pairs), "world-text")
                    world = _html(page.draw_world(None), "world")
                    by = [("its sound", "sound"), ("its image", "image")]
                    modality = gr.Radio(
                        by, value="sound", label="A click on the map searches with the nearest place, by"
                    )
                with gr.Tab("The embedding", visible=page.plane is not None):
                    colouring = gr.Radio(_colourings(page), value="modality", label="Colours show")
                    plane = _html(page.draw_plane(None, "modality"), "plane")
                    _html(texts.plane(page.plane.layout.description if page.plane else ""), "plane-text")
        answers = _html("", "answers")
        with gr.Accordion("About these weights and this set", open=False):
            _html(texts.facts(page.facts, page.answerer.why_no_regions), "facts")

        results = [kept, question, answers]
        asked = [
            _on(ask["random_sound"].click, partial(page.at_random, "sound"), None, results),
            _on(ask["random_image"].click, partial(page.at_random, "image"), None, results),
            _on(ask["key"].submit, page.of_key, [ask["key"], ask["by"]], results),
            _on(ask["image"].upload, page.of_image_file, ask["image"], results),
            _on(ask["sound"].upload, page.of_sound_file, ask["sound"], results),
            _on(ask["sound"].stop_recording, page.of_sound_file, ask["sound"], results),
            _on(answers.click, page.clicked_card, None, results),
            _on(world.click, page.clicked_world, modality, results),
            _on(plane.click, page.clicked_plane, None, results),
        ]
        for event in asked:
            # Results first: the drawings take longer, because they compare the query with the whole set.
            drawn = _on(event.then, page.draw_world, kept, world)
            _on(drawn.then, page.draw_plane, [kept, colouring], plane)
        _on(colouring.change, page.draw_plane, [kept, colouring], plane)
    return blocks


def _on(trigger: Callable[..., Any], what: Callable[..., Any], inputs: Any, outputs: Any) -> Any:
    # The page is for people only; its functions are not offered as an API.
    return trigger(what, inputs, outputs, show_progress="minimal", api_visibility="private")


def _html(content: str, elem_id: str) -> gr.HTML:
    return gr.HTML(str(content), elem_id=elem_id, js_on_load=CLICKS, apply_default_css=False)


def _colourings(page: ExplorerPage) -> list[tuple[str, str]]:
    names = ["modality", "label", "density"] if page.plane and page.plane.has_labels else ["modality", "density"]
    return [(name, name) for name in names]


def _ask_panel(page: ExplorerPage) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Tabs():
        with gr.Tab("The set"):
            parts["random_sound"] = gr.Button("A random place, by sound", variant="primary", elem_id="random-sound")
            parts["random_image"] = gr.Button("A random place, by image", elem_id="random-image")
            ways = [("its sound", "sound"), ("its image", "image")]
            parts["key"] = gr.Textbox(label="or the key of a pair, then Enter", max_lines=1, elem_id="key")
            parts["by"] = gr.Radio(ways, value="sound", label="search by", elem_id="by")
        with gr.Tab("An image"):
            label = "Drop an overhead image here"
            parts["image"] = gr.File(label=label, file_types=["image"], elem_id="own-image", height=150)
        with gr.Tab("A sound"):
            parts["sound"] = gr.Audio(
                label="Drop a recording here, or record one",
                sources=["upload", "microphone"],
                type="filepath",
                editable=False,
                buttons=[],
                visible=page.questioner.hears_files,
                elem_id="own-sound",
            )
            if not page.questioner.hears_files:
                _html(page.texts.cannot_hear(), "cannot-hear")
    return parts
