"""The files of a comparison's report: what is missing or failed is said, labels stay text, every seed is drawn."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from comparison_rows import (
    THERE,
    Plan,
    comparison_of,
    done_row,
    make_row,
    retrieval_table,
    write_downstream,
)
from matplotlib.figure import Figure
from PIL import Image

from launch.comparison.figure import draw
from launch.comparison.report import page, runs_comma_separated, write_report
from shards.errors import UserError


def test_a_failed_row_is_counted_and_named_with_its_reason(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, "a", 0, 5), make_row(tmp_path, "b", 3), make_row(tmp_path, "c")]
    (rows[1].folder / "failed.txt").write_text("the loss of step 3 is not finite; lower <the> rate\n")
    write_report(Plan(), rows, tmp_path)
    text = (tmp_path / "report" / "comparison.md").read_text(encoding="utf-8")
    assert "1 of 3 runs are done; 1 failed; 1 not started." in text
    assert "Run 2 (b, resnet18, seed 3) failed: the loss of step 3 is not finite; lower &lt;the> rate" in text
    html = (tmp_path / "report" / "comparison.html").read_text(encoding="utf-8")
    assert "lower &lt;the&gt; rate" in html
    runs = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert list(runs.state) == ["done", "failed", "missing"]
    assert list(runs[f"{THERE}/median_rank"].fillna(-1)) == [5, -1, -1]
    assert list(runs.training_seconds.fillna(-1)) == [7.5, -1, -1]
    assert list(runs.wall_seconds.fillna(-1)) == [9, -1, -1]


def test_the_report_of_a_plan_with_nothing_done(tmp_path: Path) -> None:
    rows = [make_row(tmp_path, "a"), make_row(tmp_path, "batch-triplet")]
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "comparison.png").write_bytes(b"of runs that are gone")
    assert write_report(Plan(), rows, tmp_path) == folder / "comparison.html"
    written = ["comparison.csv", "comparison.html", "comparison.md", "runs.csv"]
    assert sorted(path.name for path in folder.iterdir()) == written
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    assert "0 of 2 runs are done; 2 not started." in text
    assert "Cross-modal retrieval" not in text
    assert "29.12" not in text
    assert "744" in text
    assert list(pd.read_csv(folder / "comparison.csv").num_planned) == [1, 1]


class Tags(HTMLParser):
    """Collects the tags of a page, what they load, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "onerror", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_labels_stay_text_everywhere(tmp_path: Path) -> None:
    hostile = '$\\frac{1|$<script src="https://x.example"></script>'
    rows = [done_row(tmp_path, hostile, 0, 5)]
    write_report(Plan("<img src=x onerror=alert(1)>"), rows, tmp_path)
    tags = Tags()
    tags.feed((tmp_path / "report" / "comparison.html").read_text(encoding="utf-8"))
    assert "script" not in tags.tags
    assert hostile in tags.text
    assert "<img src=x onerror=alert(1)>" in tags.text
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in tags.loaded)
    text = (tmp_path / "report" / "comparison.md").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "1\\|" in text
    table = pd.read_csv(tmp_path / "report" / "comparison.csv")
    assert list(table.method) == [hostile]


def test_the_page_loads_nothing_and_shows_what_the_markdown_shows(tmp_path: Path) -> None:
    comparison = comparison_of([done_row(tmp_path, "a", seed, 5 + seed) for seed in (0, 1)])
    html = page(comparison, b"png")
    tags = Tags()
    tags.feed(html)
    assert "data:image/png;base64,cG5n" in tags.loaded
    assert {value[:1] for value in tags.loaded} == {"#", "d"}
    for text in ("5.5", "± 0.7", "20.00", "2 of 2 runs are done", "Recall@10 %"):
        assert text in tags.text
    assert "img" not in page(comparison, None).split("</style>")[1]


def write_intervals(row: Any, low: float, high: float) -> None:
    path = row.benchmarks[0].folder / "metrics.json"
    intervals = {"level": 0.95, "unit": "query", "num_units": 50, "sound_to_image": {}}
    intervals["image_to_sound"] = {"median_rank": [low, high]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intervals": intervals}))


def test_intervals_over_queries_are_shown_where_all_seeds_have_them(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, method, seed, 5 + seed) for method in ("a", "b") for seed in (0, 1)]
    for row, bounds in zip(rows, ((3, 8), (4, 9), (2, 7)), strict=False):  # not of the last seed of b
        write_intervals(row, *bounds)
    write_report(Plan(), rows, tmp_path)
    folder = tmp_path / "report"
    text = (folder / "comparison.md").read_text(encoding="utf-8")
    assert "| ● **5.5** ± 0.7 [3.5 – 8.5] |" in text
    assert text.count("– 8.5]") == 1
    assert "In brackets: the 95 % interval over queries" in text
    table = pd.read_csv(folder / "comparison.csv").set_index("method")
    assert list(table.loc["a", [f"{THERE}/median_rank_{end}" for end in ("low", "high")]]) == [3.5, 8.5]
    assert table.loc["b"].isna()[f"{THERE}/median_rank_low"]
    runs = pd.read_csv(folder / "runs.csv")
    assert list(runs[f"{THERE}/median_rank_high"].fillna(-1)) == [8, 9, 7, -1]
    figure = draw(comparison_of(rows))
    assert figure is not None
    thin = [line for line in shown_axes(figure)[2].lines if line.get_marker() == "|"]
    assert [list(line.get_xdata()) for line in thin] == [[3.5, 8.5]]
    assert "95 % interval" in figure.legends[0].get_texts()[-1].get_text()


def test_a_narrow_screen_gets_a_figure_of_its_own(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, "a", seed, 5 + seed) for seed in (0, 1)]
    write_report(Plan(), rows, tmp_path)
    tags = Tags()
    tags.feed((tmp_path / "report" / "comparison.html").read_text(encoding="utf-8"))
    pictures = [value.partition("base64,")[2] for value in tags.loaded if value.startswith("data:")]
    sizes = [Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures]
    assert sizes[0][0] < 600 < sizes[1][0]
    assert sizes[0][1] > sizes[1][1]


def shown_axes(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.axison]


def test_the_figure_has_a_panel_a_score_and_a_circle_a_seed(tmp_path: Path) -> None:
    comparison = comparison_of([done_row(tmp_path, "a", seed, 5 + 3 * seed) for seed in (0, 1, 2)])
    figure = draw(comparison)
    assert figure is not None
    panels = shown_axes(figure)
    assert [axes.texts[0].get_text() for axes in panels] == [c.title for c in retrieval_table(comparison).columns]
    circles = [line for line in panels[2].lines if line.get_marker() == "o"]
    assert [sorted(line.get_xdata()) for line in circles] == [[5, 8, 11]]
    assert panels[2].get_xscale() == "log"
    assert panels[0].get_xscale() == "linear"
    assert "lower is better; dashed: chance, 25.5" in panels[2].texts[1].get_text()
    assert "higher is better, %; dashed: chance, 20.00" in panels[0].texts[1].get_text()


@pytest.mark.parametrize(
    ("ranks", "n"), [((1.0, 4000.0), 10_000), ((48.0, 62.0), 118), ((9.0, 34.0), 64), ((59.0, 59.5), 118)]
)
def test_a_logarithmic_axis_has_a_few_plain_marks(tmp_path: Path, ranks: tuple[float, float], n: int) -> None:
    figure = draw(comparison_of([done_row(tmp_path, str(rank), 0, rank, n=n) for rank in ranks]))
    assert figure is not None
    axes = shown_axes(figure)[2]
    low, high = axes.get_xlim()
    marks = [mark for mark in axes.get_xticks() if low <= mark <= high]
    assert 3 <= len(marks) <= 8
    assert not axes.get_xticks(minor=True).size


def test_a_deviation_is_cut_only_where_its_unit_ends(tmp_path: Path) -> None:
    rows = []
    for seed, loss in enumerate((0.4, 0.6)):
        row = make_row(tmp_path, "a", seed, benchmarks=("demo-tau",))
        write_downstream(row.benchmarks[0], [{"epoch": 3, "log_loss": loss, "accuracy": 0.99}])
        rows.append(row)
    figure = draw(comparison_of(rows))
    assert figure is not None
    losses, accuracies = (next(line for line in axes.lines if line.get_alpha() == 0.55) for axes in shown_axes(figure))
    sd = 0.1 * 2**0.5
    assert list(losses.get_xdata()) == pytest.approx([0.5 - sd, 0.5 + sd])
    assert max(accuracies.get_xdata()) <= 100


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"out .*file can't be written: .*; give another --out"):
        write_report(Plan(), [make_row(tmp_path, "a")], tmp_path / "file")


def test_the_same_files_give_the_same_report(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, "a", seed, 5) for seed in (0, 1)]
    before = {path.name: path.read_bytes() for path in write_report(Plan(), rows, tmp_path).parent.iterdir()}
    after = {path.name: path.read_bytes() for path in write_report(Plan(), rows, tmp_path).parent.iterdir()}
    assert before == after
    assert set(before) == {"comparison.csv", "comparison.html", "comparison.md", "comparison.png", "runs.csv"}


def test_every_score_of_every_run_is_in_the_runs_table(tmp_path: Path) -> None:
    rows = [done_row(tmp_path, "a", seed, 5 + seed, recall=0.1 * (seed + 1)) for seed in (0, 1)]
    comparison = comparison_of(rows)
    table = pd.read_csv(io.StringIO(runs_comma_separated(comparison)))
    for i, outcome in enumerate(comparison.outcomes):
        assert {key: table[key][i] for key in outcome.scores} == outcome.scores
    assert list(table.seed) == [0, 1]
