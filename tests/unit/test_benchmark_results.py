"""What the benchmark makes of its figures: targets, the table, and the name of a loop's bottleneck."""

from __future__ import annotations

import io

import pytest
from benchmarks.loop_shares import LOADER, REST, STEP, WAITING, bottleneck, shares_of_time
from benchmarks.results import Figure, Row, Target, as_record, as_table, judge, shown
from rich.console import Console

ROWS = [
    Row("loss", "ours", {"ms": 20.0, "peak_mib": 3.0}),
    Row("loss", "rival", {"ms": 3000.0}),
    Row("loss", "absent", why_not="not installed"),
]
RATIO = Target("rival / ours", Figure("loss", "rival", "ms"), Figure("loss", "ours", "ms"), 100, aim=200)
MEMORY = Target("memory", Figure("loss", "ours", "peak_mib"), None, 2.5, at_most=True, unit="MiB")


def test_a_target_is_judged_by_measured_figures() -> None:
    ratio, memory = judge(RATIO, ROWS), judge(MEMORY, ROWS)
    assert (ratio.value, ratio.met) == (150.0, True)
    assert (memory.value, memory.met) == (3.0, False)


@pytest.mark.parametrize("case", ["absent", "unknown"])
def test_a_target_without_its_figures_is_not_judged(case: str) -> None:
    for target in (
        Target("", Figure("loss", case, "ms"), Figure("loss", "ours", "ms"), 1),
        Target("", Figure("loss", "ours", "ms"), Figure("loss", case, "ms"), 1),
    ):
        assert judge(target, ROWS).value is None
        assert judge(target, ROWS).met is None


def test_table_and_record_say_the_same() -> None:
    outcomes = [judge(target, ROWS) for target in (RATIO, MEMORY)]
    page = Console(file=io.StringIO(), width=150)
    page.print(as_table("machine", ROWS, outcomes))
    text = page.file.getvalue()  # type: ignore[attr-defined]
    for words in ("ms 3,000", "not measured: not installed", "150 ×", "≥ 100 ×, aim 200", "3 MiB", "≤ 2.5 MiB", "NO"):
        assert words in text
    record = as_record({"cpu": "any"}, ROWS, outcomes, quick=True)
    assert record["quick"] is True
    assert record["rows"][0] == {"suite": "loss", "case": "ours", "figures": ROWS[0].figures, "why_not": None}
    first = record["targets"][0]
    assert first["numerator"] == {"suite": "loss", "case": "rival", "name": "ms"}
    assert (first["value"], first["bound"], first["aim"], first["met"]) == (150.0, 100, 200, True)


@pytest.mark.parametrize(
    ("value", "text"),
    [(12345.6, "12,346"), (2048, "2,048"), (12.34, "12.3"), (0.01234, "0.0123"), (None, "–"), ("a", "a")],
)
def test_figures_are_shown_with_about_three_digits(value: float | str | None, text: str) -> None:
    assert shown(value) == text


def test_shares_are_a_whole() -> None:
    # 10 ms a pair: 1 ms waiting, 6 ms step, and 4 ms of one of two cores.
    known = {"loop_seconds": 0.01, "waiting_share": 0.1, "step_seconds": 0.006, "loader_seconds": 0.004, "cores": 2}
    shares = shares_of_time(**known, on_cpu=True)  # type: ignore[arg-type]
    assert shares == pytest.approx({WAITING: 0.1, STEP: 0.6, LOADER: 0.2, REST: 0.1})
    beside_a_gpu = shares_of_time(**known, on_cpu=False)  # type: ignore[arg-type]
    assert beside_a_gpu == pytest.approx({WAITING: 0.1, STEP: 0.6, REST: 0.3})
    # Measured apart, the parts may come to more than the whole.
    more = shares_of_time(**{**known, "step_seconds": 0.017}, on_cpu=True)  # type: ignore[arg-type]
    assert more == pytest.approx({WAITING: 0.05, STEP: 0.85, LOADER: 0.1, REST: 0})


STAGES = {"decode image": 0.002, "augment": 0.001}


@pytest.mark.parametrize(
    ("shares", "processes", "name"),
    [
        (
            {WAITING: 0.2, STEP: 0.8, REST: 0.0},
            1,
            "the loader: the trainer waits 20% of the time, most of it to decode",
        ),
        ({WAITING: 0.05, STEP: 0.8, LOADER: 0.1, REST: 0.05}, 1, "the model: its step is 80% of the time"),
        (
            {WAITING: 0.0, STEP: 0.3, LOADER: 0.6, REST: 0.1},
            1,
            "the cores: the loader takes 60% of their time, most",
        ),
        ({WAITING: 0.0, STEP: 0.4, REST: 0.6}, 2, "exchange between processes and the rest: 60% of the time"),
        ({WAITING: 0.0, STEP: 0.4, REST: 0.6}, 1, "neither step nor data: 60% of the time"),
    ],
)
def test_the_bottleneck_has_a_name(shares: dict[str, float], processes: int, name: str) -> None:
    assert bottleneck(shares, STAGES, processes=processes).startswith(name)
