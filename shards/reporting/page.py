"""`report.html`, `statistics.json` and figures/*.svg: the statistics of a set, written into a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from shards.atomic_files import write_json, write_text_atomically
from shards.errors import UserError
from shards.reporting.charts import Column, bars_chart, columns_chart, year_names
from shards.reporting.licence_names import licence_name
from shards.reporting.place_maps import ClassMap, DensityMap, class_maps, density_map
from shards.reporting.published_corpora import (
    SOUNDINGEARTH_COUNTRIES,
    SOUNDINGEARTH_HOURS,
    SOUNDINGEARTH_LONGEST_PERCENT_MINUTES,
    SOUNDINGEARTH_MEDIAN_MINUTES,
    TABLE_I,
)
from shards.reporting.tally import CorpusTally
from shards.untrusted_text import without_surrogates

PAGE_NAME, STATISTICS_NAME, FIGURES_FOLDER = "report.html", "statistics.json", "figures"
MOST_BARS = 20
MOST_CLASS_MAPS = 30
MOST_YEARS = 60
"""Years that are drawn, the latest; earlier ones are one column."""


def write_report(folder: Path, statistics: dict[str, Any], tally: CorpusTally) -> Path:
    """Writes the page, its figures and every number.

    Args:
        folder: made if it does not exist.
        statistics: of `shards.reporting.figures.statistics_of`.
        tally: from which they were made; its places are drawn.

    Returns:
        The page.

    Raises:
        UserError: the folder can't be written.
    """
    style = _template("statistics.css")
    density = density_map(tally.places, _map_description(statistics)) if len(tally.places) else None
    figures = draw_figures(statistics) | ({"map": density.svg} if density else {})
    page = without_surrogates(_render(style, statistics, figures, density, _class_maps(statistics, tally)))
    try:
        (folder / FIGURES_FOLDER).mkdir(parents=True, exist_ok=True)
        for name, drawing in figures.items():
            write_text_atomically(folder / FIGURES_FOLDER / f"{name}.svg", standalone(drawing, style))
        write_json(folder / STATISTICS_NAME, statistics)
        write_text_atomically(folder / PAGE_NAME, page)
    except OSError as error:
        raise UserError(f"--report {folder} can't be written: {error.strerror}; give another folder") from error
    return folder / PAGE_NAME


def _template(name: str) -> str:
    return resources.files("shards.reporting").joinpath("templates", name).read_text(encoding="utf-8")


def _render(
    style: str,
    statistics: dict[str, Any],
    figures: dict[str, Markup],
    density: DensityMap | None,
    classes: tuple[Markup, list[ClassMap]],
) -> str:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"count": _count, "duration": duration, "hours": _hours}
    return environment.from_string(_template("statistics.html.j2")).render(
        style=Markup(style),
        statistics=statistics,
        figures=figures,
        density=density,
        ground=classes[0],
        class_maps=classes[1],
        num_labels=len(statistics["labels"]["pairs_by_name"]),
        most_bars=MOST_BARS,
        table=TABLE_I,
        published={
            "countries": SOUNDINGEARTH_COUNTRIES,
            "hours": SOUNDINGEARTH_HOURS,
            "median_minutes": SOUNDINGEARTH_MEDIAN_MINUTES,
            "longest_minutes": SOUNDINGEARTH_LONGEST_PERCENT_MINUTES,
        },
    )


def draw_figures(statistics: dict[str, Any]) -> dict[str, Markup]:
    """The charts by name; those without data are left out."""
    figures: dict[str, Markup] = {}
    if statistics["sound"]["pairs_with_length"]:
        figures["lengths"] = _lengths(statistics["sound"]["histogram"])
    if statistics["years"]["pairs_by_year"]:
        figures["years"] = _years(statistics["years"]["pairs_by_year"])
    groups = {kind: statistics[kind]["pairs_by_name"] for kind in ("labels", "creators")}
    groups["licences"] = _by_short_name(statistics["licences"]["pairs_by_name"])
    if statistics["countries"]:
        groups["countries"] = statistics["countries"]["pairs_by_country"]
    for kind, counts in groups.items():
        if counts:
            shown = list(counts.items())[:MOST_BARS]
            description = f"Pairs by {kind}: " + ", ".join(f"{name} {count:,}" for name, count in shown[:5])
            figures[kind] = bars_chart(shown, statistics["pairs"], description)
    return figures


def standalone(drawing: Markup, style: str) -> str:
    """A drawing as an SVG file of its own, with the page's colours for light paper."""
    head, _, rest = str(drawing).partition(">")
    light = style.partition("@media (prefers-color-scheme: dark)")[0]
    rules = "\n".join(line for line in style.splitlines() if line.startswith("."))
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head} xmlns="http://www.w3.org/2000/svg">'
        f"<style>{light}\n{rules}\ntext {{ font-family: sans-serif; }}</style>{rest}\n"
    )


def _by_short_name(pairs_by_licence: dict[str, int]) -> dict[str, int]:
    """Licences under their short names, which several addresses of one licence share."""
    found: Counter[str] = Counter()
    for licence, count in pairs_by_licence.items():
        found[licence_name(licence)] += count
    return dict(found.most_common())


def _lengths(histogram: Sequence[dict[str, Any]]) -> Markup:
    unit, seconds, step = ("minutes", 60, 120) if histogram[-1]["above_seconds"] > 60 else ("seconds", 1, 12)
    columns = []
    for entry in histogram:
        low, high, count = entry["above_seconds"] / seconds, entry["to_seconds"], entry["pairs"]
        span = f"longer than {low:g} {unit}" if high is None else f"{low:g} to {high / seconds:g} {unit}"
        name = f"> {low:g}" if high is None else f"{low:g}" if entry["above_seconds"] % step == 0 else ""
        columns.append(Column(name, count, f"{span}: {count:,} pairs", is_other=high is None))
    total = sum(entry["pairs"] for entry in histogram)
    return columns_chart(
        columns,
        f"length of the recording in {unit}",
        f"Histogram of the lengths of {total:,} recordings; {histogram[-1]['pairs']:,} are {span}.",
    )


def _years(pairs_by_year: dict[str, int]) -> Markup:
    counts = {int(year): count for year, count in pairs_by_year.items()}
    last = max(counts)
    first = max(min(counts), last - MOST_YEARS + 1)
    years = list(range(first, last + 1))
    columns = [
        Column(name, counts.get(year, 0), f"{year}: {counts.get(year, 0):,} pairs")
        for year, name in zip(years, year_names(years), strict=True)
    ]
    earlier = sum(count for year, count in counts.items() if year < first)
    if earlier:
        columns.insert(0, Column("before", earlier, f"before {first}: {earlier:,} pairs", is_other=True))
    described = f"Pairs by year of the recording, from {min(counts)} to {last}."
    return columns_chart(columns, "year of the recording", described)


def _class_maps(statistics: dict[str, Any], tally: CorpusTally) -> tuple[Markup, list[ClassMap]]:
    names = list(statistics["labels"]["pairs_by_name"])[:MOST_CLASS_MAPS]
    if not names or not len(tally.places):
        return Markup(""), []
    return class_maps(tally.places, [(name, tally.places_of(name)) for name in names])


def _map_description(statistics: dict[str, Any]) -> str:
    places = statistics["places"]
    return f"Map of the {places['pairs_with_place']:,} pairs at {places['different_places']:,} different places."


def _count(number: int) -> str:
    return f"{number:,}"


def duration(seconds: float | None) -> str:
    """A length in words: 45 s, 3 min 4 s, 1 h 2 min."""
    if seconds is None:
        return "unknown"
    if seconds < 60:
        return f"{seconds:.3g} s"
    if round(seconds) < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / 60), 60)
    return f"{hours:,} h {rest} min" if rest else f"{hours:,} h"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "unknown"
    return f"{hours:,.0f} h" if hours >= 100 else f"{hours:.3g} h"
