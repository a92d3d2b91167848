"""The explorer's page: ask on the left, the world and the answers on the right, the embedding and the facts behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import jinja2
import numpy as np

from retrieval.atlas import Modality
from retrieval.explore.answers import Answer, Answerer
from retrieval.explore.plane_view import Colouring, PlaneView
from retrieval.explore.questions import OTHER, Question, Questioner
from retrieval.explore.world_view import WorldView
from shards.errors import UserError

NUM_ANSWERS = 8
NOTHING_NEW = (gr.skip(), gr.skip(), gr.skip())
TITLE = "Earshot · what was learned"

# Clicks on a button that names a pair, or on a drawing, reach Python with what was clicked on.
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


class ExplorerPage:
    """What the page does, apart from how it is laid out.

    Args:
        questioner: makes questions.
        answerer: answers them.
        world: the map, None where no pair has coordinates.
        plane: the embedding in two dimensions, None where there are too few pairs.
        facts: about weights and set, name → text, for the foot of the page.
    """

    def __init__(
        self,
        questioner: Questioner,
        answerer: Answerer,
        world: WorldView | None,
        plane: PlaneView | None,
        facts: dict[str, str],
    ) -> None:
        self.questioner, self.answerer = questioner, answerer
        self.world, self.plane, self.facts = world, plane, facts
        self.num_pairs = len(questioner.atlas)
        self._reading = threading.Lock()
        self._random = np.random.default_rng()
        environment = jinja2.Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
        )
        self._cards = environment.from_string(_template("explore_cards.html.j2"))
        self.texts: Any = environment.from_string(_template("explore_texts.html.j2")).module

    def ask(self, make: Callable[[], Question]) -> tuple[Any, Any, Any]:
        """A question → itself with its answers' numbers, to be kept; its card; and its answers' cards.

        A question that can't be asked leaves the answers as they are and says why in its card's place.
        """
        try:
            # Shards are read by one thread at a time.
            with self._reading:
                question = make()
                answers = self.answerer.answer(question, NUM_ANSWERS)
        except UserError as error:
            return gr.skip(), self._cards.render(refusal=str(error)), gr.skip()
        kept = (question, [answer.number for answer in answers])
        return kept, self._cards.render(question=question), self._answers_cards(question, answers)

    def _answers_cards(self, question: Question, answers: Sequence[Answer]) -> str:
        own_rank = None
        if question.number is not None:
            distances = self.answerer.distances(question)
            own_rank = int((distances < distances[question.number]).sum()) + 1
        return self._cards.render(answers=answers, asked=question.modality, own_rank=own_rank, count=self.num_pairs)

    def at_random(self, modality: Modality) -> tuple[Any, Any, Any]:
        """Asks with a pair of the set that chance picks."""
        return self.of_pair(int(self._random.integers(self.num_pairs)), modality)

    def of_pair(self, number: Any, modality: Any) -> tuple[Any, Any, Any]:
        """Asks with a pair of the set; what is not a pair's number or a modality changes nothing."""
        if not isinstance(number, int) or not 0 <= number < self.num_pairs or modality not in OTHER:
            return NOTHING_NEW
        return self.ask(lambda: self.questioner.of_pair(number, modality))

    def of_image_file(self, path: str | None) -> tuple[Any, Any, Any]:
        """Asks with a visitor's image."""
        return self.ask(lambda: self.questioner.of_image_file(Path(path))) if path else NOTHING_NEW

    def of_sound_file(self, path: str | None) -> tuple[Any, Any, Any]:
        """Asks with a visitor's sound."""
        return self.ask(lambda: self.questioner.of_sound_file(Path(path))) if path else NOTHING_NEW

    def clicked_card(self, event: gr.EventData) -> tuple[Any, Any, Any]:
        """Asks with the pair whose button was clicked."""
        data = event._data or {}
        return self.of_pair(data.get("number"), data.get("modality"))

    def clicked_world(self, modality: Modality, event: gr.EventData) -> tuple[Any, Any, Any]:
        """Asks with the place that lies nearest to the click."""
        point = _point(event)
        return (
            NOTHING_NEW if point is None or self.world is None else self.of_pair(self.world.nearest(*point), modality)
        )

    def clicked_plane(self, event: gr.EventData) -> tuple[Any, Any, Any]:
        """Asks with the image or the sound whose point lies nearest to the click."""
        point = _point(event)
        if point is None or self.plane is None:
            return NOTHING_NEW
        return self.of_pair(*self.plane.nearest(*point))

    def draw_world(self, kept: tuple[Question, list[int]] | None) -> str:
        """The map with the heat and the answers of the question that was asked last."""
        if self.world is None:
            return ""
        if kept is None:
            return str(self.world.draw())
        question, numbers = kept
        return str(self.world.draw(self.answerer.distances(question), numbers, question.number))

    def draw_plane(self, kept: tuple[Question, list[int]] | None, colouring: Colouring) -> str:
        """The embedding with the question that was asked last, and its answers."""
        if self.plane is None:
            return ""
        marked: list[tuple[int, Modality, str]] = []
        if kept is not None:
            question, numbers = kept
            marked = [(number, OTHER[question.modality], "answer") for number in numbers]
            marked += [] if question.number is None else [(question.number, question.modality, "asked")]
        return str(self.plane.draw(colouring, marked))


def _template(name: str) -> str:
    return resources.files("retrieval").joinpath("templates", name).read_text(encoding="utf-8")


def _point(event: gr.EventData) -> tuple[float, float] | None:
    data = event._data or {}
    x, y = data.get("x"), data.get("y")
    numbers = (int, float)
    return (float(x), float(y)) if isinstance(x, numbers) and isinstance(y, numbers) else None


def build_page(page: ExplorerPage) -> gr.Blocks:
    """Lays the page out and connects what is clicked with what it does."""
    texts = page.texts
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 600)) as blocks:
        _html(texts.heading(page.num_pairs), "heading")
        kept = gr.State(None)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                ask = _ask_panel(page)
                question = _html(texts.hint(), "question")
            with gr.Column(scale=3, min_width=480), gr.Tabs():
                with gr.Tab("The world"):
                    _html(texts.world(len(page.world.located) if page.world else 0, page.num_pairs), "world-text")
                    world = _html(page.draw_world(None), "world")
                    by = [("its sound", "sound"), ("its image", "image")]
                    modality = gr.Radio(by, value="sound", label="A click on the map asks with the nearest place, by")
                with gr.Tab("The embedding", visible=page.plane is not None):
                    colouring = gr.Radio(_colourings(page), value="modality", label="Colours show")
                    plane = _html(page.draw_plane(None, "modality"), "plane")
                    _html(texts.plane(page.plane.layout.description if page.plane else ""), "plane-text")
        answers = _html("", "answers")
        with gr.Accordion("About these weights and this set", open=False):
            _html(texts.facts(page.facts), "facts")

        results = [kept, question, answers]
        asked = [
            _on(ask["random_sound"].click, partial(page.at_random, "sound"), None, results),
            _on(ask["random_image"].click, partial(page.at_random, "image"), None, results),
            _on(ask["image"].upload, page.of_image_file, ask["image"], results),
            _on(ask["sound"].upload, page.of_sound_file, ask["sound"], results),
            _on(ask["sound"].stop_recording, page.of_sound_file, ask["sound"], results),
            _on(answers.click, page.clicked_card, None, results),
            _on(world.click, page.clicked_world, modality, results),
            _on(plane.click, page.clicked_plane, None, results),
        ]
        for event in asked:
            # The answers first: the drawings compare the question with the whole set.
            drawn = _on(event.then, page.draw_world, kept, world)
            _on(drawn.then, page.draw_plane, [kept, colouring], plane)
        _on(colouring.change, page.draw_plane, [kept, colouring], plane)
    return blocks


def _on(trigger: Callable[..., Any], what: Callable[..., Any], inputs: Any, outputs: Any) -> Any:
    # The page is for people: none of what it does is offered as an interface to programs.
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
