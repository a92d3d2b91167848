"""The layout of the explorer's page: query on the left, maps on the right, results and facts below; and its events."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gradio as gr

from retrieval.explore.choice import label_choices, split_choices
from retrieval.explore.page import ExplorerPage
from retrieval.map_zoom import zoom_script

STATE_SECONDS = 3600
TITLE = "Earshot explorer"

# Sends clicks to Python: on a button of a pair, with the pair; on a button of the map, with the part that is seen; on a
# drawing, with the position.
CLICKS = """
element.addEventListener("click", (event) => {
  const pair = event.target.closest("button[data-number]");
  const part = event.target.closest("button[data-part]");
  const drawing = event.target.closest("svg");
  if (pair) {
    trigger("click", {number: Number(pair.dataset.number), modality: pair.dataset.modality});
  } else if (part) {
    const {x, y, width, height} = element.querySelector("svg.map").viewBox.baseVal;
    trigger("select", part.dataset.part === "here" ? {x, y, width, height} : {});
  } else if (drawing) {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    trigger("click", {x: point.x, y: point.y});
  }
});
"""

WAYS = [("its sound", "sound"), ("its image", "image")]


def build_page(page: ExplorerPage) -> gr.Blocks:
    """Lays out the page and connects its events."""
    texts = page.texts
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=(600, 600)) as blocks:
        _html(texts.heading(page.num_pairs), "heading")
        kept = gr.State(None, time_to_live=STATE_SECONDS)
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                ask = _ask_panel(page)
                choice = _choice_panel(page)
                question = _html(texts.hint(), "question")
            with gr.Column(scale=3, min_width=320), gr.Tabs():
                with gr.Tab("The world"):
                    _html(texts.world(len(page.world.located) if page.world else 0, page.num_pairs), "world-text")
                    world = _html(page.draw_world(None, [], []), "world", can_zoom=True)
                    if page.world and page.world.view.has_coarse_land:
                        _html(texts.coarse_land(), "coarse-land")
                    label = "A click on the map searches with the nearest place by"
                    ask["world_by"] = gr.Radio(WAYS, value="sound", label=label)
                with gr.Tab("The embedding", visible=page.plane is not None):
                    colouring = gr.Radio(_colourings(page), value="modality", label="Colours show")
                    plane = _html(page.draw_plane(None, "modality"), "plane")
                    about = page.plane.layout.description if page.plane else ""
                    _html(texts.plane(about, page.gap.describe()), "plane-text")
        answers = _html("", "answers")
        with gr.Accordion("About these weights and this set", open=False):
            _html(texts.facts(page.facts | {"gap": page.gap.describe()}, page.answerer.why_no_regions), "facts")

        results = [kept, question, answers, ask["mix_of"]]
        asked = _questions(page, ask, [kept, *choice], results)
        asked += [
            _on(answers.click, page.clicked_card, [kept, *choice], results),
            _on(world.click, page.clicked_world, [ask["world_by"], kept, *choice], results),
            _on(plane.click, page.clicked_plane, [kept, *choice], results),
            *(_on(part.change, page.again, [kept, *choice], results) for part in choice),
        ]
        for event in asked:
            # Results first: the drawings take longer, because they compare the query with the whole set.
            drawn = _on(event.then, page.draw_world, [kept, *choice], world)
            _on(drawn.then, page.draw_plane, [kept, colouring], plane)
        _on(world.select, page.heat_of_part, [kept, *choice], world)
        _on(colouring.change, page.draw_plane, [kept, colouring], plane)
    return blocks


def _questions(page: ExplorerPage, ask: dict[str, Any], kept: list[Any], results: list[Any]) -> list[Any]:
    """The events of the panel of queries."""
    return [
        _on(ask["random_sound"].click, partial(page.at_random, modality="sound"), kept, results),
        _on(ask["random_image"].click, partial(page.at_random, modality="image"), kept, results),
        _on(ask["key"].submit, page.of_key, [ask["key"], ask["by"], *kept], results),
        _on(ask["image"].upload, page.of_image_file, [ask["image"], *kept], results),
        _on(ask["sound"].upload, page.of_sound_file, [ask["sound"], *kept], results),
        _on(ask["sound"].stop_recording, page.of_sound_file, [ask["sound"], *kept], results),
        _on(ask["mix"].click, page.of_mix, [ask["weight"], ask["gallery"], *kept], results),
    ]


def _on(trigger: Callable[..., Any], what: Callable[..., Any], inputs: Any, outputs: Any) -> Any:
    # The page is for people only; its functions are not offered as an API.
    return trigger(what, inputs, outputs, show_progress="minimal", api_visibility="private")


def _html(content: str, elem_id: str, *, can_zoom: bool = False) -> gr.HTML:
    script = f"{zoom_script()}\nzoomMap(element);\n{CLICKS}" if can_zoom else CLICKS
    return gr.HTML(str(content), elem_id=elem_id, js_on_load=script, apply_default_css=False)


def _colourings(page: ExplorerPage) -> list[tuple[str, str]]:
    names = ["modality", "label", "density"] if page.plane and page.plane.has_labels else ["modality", "density"]
    return [(name, name) for name in names]


def _ask_panel(page: ExplorerPage) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    with gr.Tabs():
        with gr.Tab("The set"):
            parts["random_sound"] = gr.Button("A random place, by sound", variant="primary", elem_id="random-sound")
            parts["random_image"] = gr.Button("A random place, by image", elem_id="random-image")
            parts["key"] = gr.Textbox(label="or type the key of a pair and press Enter", max_lines=1, elem_id="key")
            parts["by"] = gr.Radio(WAYS, value="sound", label="search by", elem_id="by")
        with gr.Tab("Image"):
            label = "Drop an overhead image here"
            parts["image"] = gr.File(label=label, file_types=["image"], elem_id="own-image", height=150)
        with gr.Tab("Sound"):
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
        with gr.Tab("Mix"):
            parts["mix_of"] = _html(page.texts.mix(None, None), "mix-of")
            parts["weight"] = gr.Slider(0, 100, 50, step=5, label="Weight of the image, in percent", elem_id="weight")
            galleries = [("images", "image"), ("sounds", "sound")]
            parts["gallery"] = gr.Radio(galleries, value="image", label="look for", elem_id="gallery")
            parts["mix"] = gr.Button("Search with the mix", variant="primary", elem_id="mix")
    return parts


def _choice_panel(page: ExplorerPage) -> list[Any]:
    """What restricts the search: labels and splits, as far as the set has several."""
    labels, splits = label_choices(page.atlas), split_choices(page.atlas)
    return [
        gr.Dropdown(
            labels, value=[], multiselect=True, label="Only these labels", elem_id="labels", visible=bool(labels)
        ),
        gr.CheckboxGroup(splits, value=[], label="Only these splits", elem_id="splits", visible=bool(splits)),
    ]
