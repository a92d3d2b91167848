"""What lets a map zoom: its frame with buttons, which a script shows, and that script and its styles as text."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

BUTTONS = Markup(
    '<button type="button" data-zoom="in" aria-label="Zoom in">+</button>'
    '<button type="button" data-zoom="out" aria-label="Zoom out">−</button>'
    '<button type="button" data-zoom="all">whole map</button>'
)


def zoomable(drawing: Markup, more_tools: Markup | None = None) -> Markup:
    """A map in a frame that can be zoomed by buttons, keys, wheel and fingers; without a script, it is just the map.

    Args:
        drawing: the map, `<svg class="map" viewBox="0 0 width height">`.
        more_tools: further buttons beside those that zoom.
    """
    return Markup(
        '<div class="map-box" tabindex="0" role="group" aria-label="Map: + and − zoom, arrow keys move, 0 shows all">'
        '{}<div class="map-tools" hidden="">{}{}</div></div>'
    ).format(drawing, BUTTONS, more_tools or "")


def zoom_script() -> str:
    """The function `zoomMap(root)` in JavaScript."""
    return _template("map_zoom.js")


def zoom_style() -> str:
    """Styles of the frame and its buttons; they use the page's colours `--card`, `--ink`, `--soft` and `--line`."""
    return _template("map_zoom.css")


def _template(name: str) -> str:
    return resources.files("retrieval").joinpath("templates", name).read_text(encoding="utf-8")
