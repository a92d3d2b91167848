"""The verb `explore`: opens the atlas and serves the page."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain.model import TwoTower
from retrieval.embedding import open_model_and_split
from retrieval.explore.atlas import Atlas, folder_beside, open_atlas
from retrieval.explore.layout import Layout, open_layout
from retrieval.explore.options import ExploreOptions
from retrieval.local_server import FixedHeaders, is_loopback, listen, serve_pages, shown_address
from retrieval.map_zoom import zoom_style
from shards.errors import UserError, end_on_sigterm
from shards.schema import SPLITS

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from retrieval.explore.page import ExplorerPage
    from retrieval.explore.upload_folder import UploadFolder

UPLOADS_PREFIX = "earshot-explore-"

HEADERS = {
    # Nothing is loaded from or sent to other hosts. Gradio's own scripts are inline and compile templates.
    "content-security-policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; frame-ancestors 'none'; "
        "base-uri 'self'; form-action 'self'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with "no-referrer", browsers may hide the origin of requests, which is checked
}


def explore(options: ExploreOptions) -> None:
    """Runs `explore`, which serves until it is stopped.

    Raises:
        UserError: a mistake in the options, the weights or the shards.
    """
    options.check()
    # Read when gradio is imported, which takes seconds and is needed only here.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Uploads are deleted on SIGTERM too.
    end_on_sigterm()
    with listen(options.host, options.port) as listener, tempfile.TemporaryDirectory(prefix=UPLOADS_PREFIX) as uploads:
        folder = Path(uploads).resolve()
        os.environ["GRADIO_TEMP_DIR"] = str(folder)
        _serve_page(options, listener, folder)


def _serve_page(options: ExploreOptions, listener: socket.socket, uploads: Path) -> None:
    import gradio as gr
    from fastapi import FastAPI

    from retrieval.access import Door, make_token
    from retrieval.explore.entrance import Entrance
    from retrieval.explore.page_layout import build_page
    from retrieval.explore.upload_folder import MAX_UPLOAD_BYTES, UploadFolder
    from retrieval.explore.uploads import UploadGuard

    folder = UploadFolder(uploads)
    page = _open_page(options, folder)
    system_fonts = ["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Noto Sans", "DejaVu Sans", "sans-serif"]
    css = zoom_style() + resources.files("retrieval.explore").joinpath("templates", "explore.css").read_text(
        encoding="utf-8"
    )
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        build_page(page),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=MAX_UPLOAD_BYTES,
        ssr_mode=False,
        theme=gr.themes.Default(font=system_fonts, font_mono=["ui-monospace", "monospace"]),
        css=css,
    )
    served: ASGIApp = UploadGuard(app, folder)
    if not is_loopback(listener):
        token = make_token()
        print(f"token {token} (this server's only; visitors type it once; sent over plain HTTP)", flush=True)
        served = Entrance(served, Door(token, f"explore_{listener.getsockname()[1]}"))
    print(f"explore {page.num_pairs:,} pairs at {shown_address(listener)} (Ctrl-C stops it)", flush=True)
    serve_pages(FixedHeaders(served, HEADERS), listener, options.host)


def _open_page(options: ExploreOptions, uploads: UploadFolder) -> ExplorerPage:
    from retrieval.explore.answers import Answerer
    from retrieval.explore.page import ExplorerPage
    from retrieval.explore.plane_view import PlaneView
    from retrieval.explore.questions import Questioner
    from retrieval.explore.world_view import WorldView, located_places

    splits = chosen_splits(options)
    model, shard_set = open_model_and_split(
        options.weights, options.shards, splits[0], device=options.device, force=options.force
    )
    atlas = open_atlas(
        model,
        options.weights,
        shard_set,
        splits=splits,
        crops=options.crops,
        folder=options.cache or folder_beside(options.weights),
        batch_size=options.batch_size,
    )
    layout, about_layout = _layout(atlas, options.layout)
    questioner = Questioner(model, options.weights, atlas, options.crops)
    return ExplorerPage(
        questioner,
        Answerer(questioner),
        WorldView(atlas.places) if len(located_places(atlas.places)) else None,
        PlaneView(layout, atlas.labels, atlas.label_names) if layout else None,
        _facts(options, model, atlas, about_layout),
        uploads,
    )


def _layout(atlas: Atlas, method: str) -> tuple[Layout | None, str]:
    """The map of the embedding and its description; without a map, the rest of the page still works."""
    try:
        layout = open_layout(atlas, method)
    except UserError as error:
        print(f"warning: no map of the embedding: {error}", file=sys.stderr, flush=True)
        return None, f"none: {error}"
    return layout, layout.description


def chosen_splits(options: ExploreOptions) -> tuple[str, ...]:
    """The splits to search; of "all", those with pairs."""
    if options.split != "all":
        return (options.split,)
    from shards.streaming.reading import ShardSet

    counts = ShardSet.open(options.shards).manifest.splits
    return tuple(split for split in SPLITS if counts.get(split)) or ("test",)


def _facts(options: ExploreOptions, model: TwoTower, atlas: Atlas, layout: str) -> dict[str, str]:
    manifest = atlas.shard_set.manifest
    counts = {name.replace("_", " "): count for name, count in atlas.counts.items() if count}
    return {
        "weights": str(options.weights),
        "set": f"{options.shards}: source {manifest.source}, {options.split} split, {len(atlas):,} pairs",
        "incomplete pairs": ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none",
        "sound tower": "trained" if model.config.sound_trained else "never trained: distances are meaningless",
        "sound crops": f"{options.crops}, evenly spaced, embeddings averaged",
        "search for images": atlas.indexes["image"].description,
        "search for sounds": atlas.indexes["sound"].description,
        "map of the embedding": layout,
    }
