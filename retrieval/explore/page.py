"""The behaviour of the explorer's page: queries become cards, and the last one is drawn on both maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import gradio as gr
import jinja2
import numpy as np
from numpy.typing import NDArray

from retrieval.explore.answers import Answer, Answerer
from retrieval.explore.atlas import Modality
from retrieval.explore.choice import Choice
from retrieval.explore.mixing import mixed
from retrieval.explore.modality_gap import ModalityGap
from retrieval.explore.part_heat import Part
from retrieval.explore.plane_view import Colouring, PlaneView
from retrieval.explore.questions import OTHER, Question, Questioner
from retrieval.explore.results_csv import NUM_ROWS, csv_link, results_csv
from retrieval.explore.upload_folder import UploadFolder
from retrieval.explore.world_view import WorldView
from retrieval.gallery import format_rank
from shards.errors import UserError

NUM_ANSWERS = 8
MOST_UNITS = 1e6
"""Largest coordinate of a drawing that a click can have."""
NOTHING_NEW = (gr.skip(), gr.skip(), gr.skip(), gr.skip())


@dataclass(frozen=True)
class Kept:
    """What is kept of a visitor's queries: the last one with its results, and the last by image and by sound."""

    question: Question | None = None
    answers: tuple[int, ...] = ()
    image: Question | None = None
    sound: Question | None = None

    def after(self, question: Question, answers: Sequence[int]) -> Kept:
        """The same after one more query; one that is mixed from both is no part of the next mix."""
        question = question.kept()
        new = replace(self, question=question, answers=tuple(answers))
        if question.mix:
            return new
        return replace(new, image=question) if question.modality == "image" else replace(new, sound=question)


class ExplorerPage:
    """The behaviour of the page, without its layout.

    What a query returns is the state to keep, the query's card, the cards of the results and what the next mix is made
    of. If a query is invalid, the results stay as they are, and the query's card shows the error.

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
        self.gap = ModalityGap.of(self.atlas.image_embeddings, self.atlas.sound_embeddings)
        self._random = np.random.default_rng()
        environment = jinja2.Environment(
            autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.ChainableUndefined
        )
        self._cards = environment.from_string(_template("explore_cards.html.j2"))
        self.texts: Any = environment.from_string(_template("explore_texts.html.j2")).module

    def ask(self, make: Callable[[], Question], kept: Kept | None, labels: Any, splits: Any) -> tuple[Any, ...]:
        """Answers a query from the pairs of the chosen labels and splits."""
        try:
            question = make()
            among = Choice.of(labels, splits).mask(self.atlas)
            numbers, distances = self.atlas.nearest(question.gallery, question.embedding, NUM_ROWS, among)
            shown = self.answerer.show(question, numbers[:NUM_ANSWERS], distances[:NUM_ANSWERS])
        except UserError as error:
            return gr.skip(), self._cards.render(refusal=str(error)), gr.skip(), gr.skip()
        new = (kept or Kept()).after(question, numbers[:NUM_ANSWERS].tolist())
        cards = self._answers_cards(question, shown, among, results_csv(self.questioner, question, numbers, distances))
        return new, self._cards.render(question=question), cards, str(self.texts.mix(new.image, new.sound))

    def _answers_cards(
        self, question: Question, answers: Sequence[Answer], among: NDArray[np.bool_] | None, table: str
    ) -> str:
        own_rank, number = None, question.number
        if number is not None and (among is None or among[number]):
            distances = self.atlas.distances(question.gallery, question.embedding)
            among_all = np.ones(self.num_pairs, bool) if among is None else among
            own_rank = format_rank(average_rank(distances[among_all], int(among_all[:number].sum())))
        return self._cards.render(
            asked=question.modality,
            mix=question.mix,
            answers=answers,
            own_rank=own_rank,
            count=self.num_pairs if among is None else int(among.sum()),
            is_part=among is not None,
            table=csv_link(table),
            num_rows=table.count("\n") - 1,
        )

    def again(self, kept: Kept | None, labels: Any, splits: Any) -> tuple[Any, ...]:
        """Answers the last query again, after other labels or splits were chosen."""
        question = kept.question if kept else None
        return NOTHING_NEW if question is None else self.ask(lambda: question, kept, labels, splits)

    def at_random(self, kept: Kept | None, labels: Any, splits: Any, *, modality: Modality) -> tuple[Any, ...]:
        """Searches with a random pair, of those that are searched."""
        among = Choice.of(labels, splits).mask(self.atlas)
        numbers = np.arange(self.num_pairs) if among is None or not among.any() else np.flatnonzero(among)
        return self.of_pair(int(self._random.choice(numbers)), modality, kept, labels, splits)

    def of_pair(self, number: Any, modality: Any, kept: Kept | None, labels: Any, splits: Any) -> tuple[Any, ...]:
        """Searches with a pair of the set; an invalid number or modality is ignored."""
        # Clicks come from the browser, which may send anything.
        is_pair = type(number) is int and 0 <= number < self.num_pairs
        if not is_pair or not isinstance(modality, str) or modality not in OTHER:
            return NOTHING_NEW
        return self.ask(lambda: self.questioner.of_pair(number, modality), kept, labels, splits)

    def of_key(self, key: str, modality: Any, kept: Kept | None, labels: Any, splits: Any) -> tuple[Any, ...]:
        """Searches with the pair of this key."""
        if not key.strip() or modality not in OTHER:
            return NOTHING_NEW

        def make() -> Question:
            return self.questioner.of_pair(self.questioner.number_of(key.strip()), modality)

        return self.ask(make, kept, labels, splits)

    def of_image_file(self, path: str | None, kept: Kept | None, labels: Any, splits: Any) -> tuple[Any, ...]:
        """Searches with a visitor's image."""
        return self._of_file(path, self.questioner.of_image_file, kept, labels, splits)

    def of_sound_file(self, path: str | None, kept: Kept | None, labels: Any, splits: Any) -> tuple[Any, ...]:
        """Searches with a visitor's sound."""
        return self._of_file(path, self.questioner.of_sound_file, kept, labels, splits)

    def _of_file(
        self, path: str | None, question_of: Callable[[Path], Question], kept: Kept | None, labels: Any, splits: Any
    ) -> tuple[Any, ...]:
        if not path:
            return NOTHING_NEW

        def make() -> Question:
            with self.uploads.private_copy(Path(path)) as copy:
                return question_of(copy)

        return self.ask(make, kept, labels, splits)

    def of_mix(
        self, image_percent: float, gallery: Any, kept: Kept | None, labels: Any, splits: Any
    ) -> tuple[Any, ...]:
        """Searches with a mix of the last image and the last sound; the weight of the image is in percent."""
        if gallery not in OTHER:
            return NOTHING_NEW

        def make() -> Question:
            if kept is None or kept.image is None or kept.sound is None:
                raise UserError("a mix needs an image and a sound: search with one of each first")
            return mixed(kept.image, kept.sound, image_percent / 100, gallery)

        return self.ask(make, kept, labels, splits)

    def clicked_card(self, kept: Kept | None, labels: Any, splits: Any, event: gr.EventData) -> tuple[Any, ...]:
        """Searches with the pair whose button was clicked."""
        data = _clicked(event)
        return self.of_pair(data.get("number"), data.get("modality"), kept, labels, splits)

    def clicked_world(
        self, modality: Modality, kept: Kept | None, labels: Any, splits: Any, event: gr.EventData
    ) -> tuple[Any, ...]:
        """Searches with the place, of those that are searched, nearest to the click."""
        point = _numbers(event, "x", "y")
        if point is None or self.world is None:
            return NOTHING_NEW
        number = self.world.nearest(point[0], point[1], Choice.of(labels, splits).mask(self.atlas))
        return self.of_pair(number, modality, kept, labels, splits)

    def clicked_plane(self, kept: Kept | None, labels: Any, splits: Any, event: gr.EventData) -> tuple[Any, ...]:
        """Searches with the image or sound whose point is nearest to the click."""
        point = _numbers(event, "x", "y")
        if point is None or self.plane is None:
            return NOTHING_NEW
        return self.of_pair(*self.plane.nearest(*point), kept, labels, splits)

    def draw_world(self, kept: Kept | None, labels: Any, splits: Any, part: Part | None = None) -> str:
        """Draws the map with the heat and the results of the last query."""
        if self.world is None:
            return ""
        among = Choice.of(labels, splits).mask(self.atlas)
        question = kept.question if kept else None
        if kept is None or question is None:
            return str(self.world.draw(among=among))
        distances = self.atlas.distances(question.gallery, question.embedding)
        return str(self.world.draw(distances, kept.answers, question.number, among=among, part=part))

    def heat_of_part(self, kept: Kept | None, labels: Any, splits: Any, event: gr.EventData) -> Any:
        """Draws the map with heat over the part that the visitor sees, or again over all of it."""
        box = _numbers(event, "x", "y", "width", "height")
        if box is not None and min(box[2:]) <= 0:
            return gr.skip()
        return self.draw_world(kept, labels, splits, None if box is None else Part(*box))

    def draw_plane(self, kept: Kept | None, colouring: Colouring) -> str:
        """Draws the embedding with the last query and its results."""
        if self.plane is None:
            return ""
        marked: list[tuple[int, Modality, str]] = []
        if kept is not None and kept.question is not None:
            question = kept.question
            marked = [(number, question.gallery, "answer") for number in kept.answers]
            marked += [] if question.number is None else [(question.number, question.modality, "asked")]
        return str(self.plane.draw(colouring, marked))


def _template(name: str) -> str:
    return resources.files("retrieval.explore").joinpath("templates", name).read_text(encoding="utf-8")


def average_rank(distances: NDArray[np.float32], number: int) -> float:
    """The rank of one pair by its distance, 1 for the nearest; ties have their average rank."""
    nearer, tied = (int(found.sum()) for found in (distances < distances[number], distances == distances[number]))
    return nearer + (tied + 1) / 2


def _clicked(event: gr.EventData) -> dict[str, Any]:
    return event._data if isinstance(event._data, dict) else {}


def _numbers(event: gr.EventData, *names: str) -> tuple[float, ...] | None:
    """Numbers that the browser sent; None if one is missing or can't be in a drawing."""
    values: list[Any] = [_clicked(event).get(name) for name in names]
    if not all(type(value) in (int, float) and abs(value) < MOST_UNITS for value in values):
        return None
    return tuple(float(value) for value in values)
