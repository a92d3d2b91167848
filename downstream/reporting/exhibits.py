"""The exhibits of a report: charts of its tables, and what kinds of benchmarks show of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name

from downstream.benchmarks import BENCHMARKS
from downstream.exhibits import Exhibit, ShownRun
from downstream.reporting.approach_chart import approach_chart
from downstream.reporting.published import BACKBONES
from downstream.reporting.runs import Run, short_names
from downstream.reporting.score_chart import score_chart
from downstream.reporting.tables import Table


def exhibits_of(runs: Sequence[Run], tables: Sequence[Table]) -> list[Exhibit]:
    """The charts of tables, then the exhibits of each benchmark, in the order of the runs."""
    names = short_names({run.results.weights for run in runs})
    charts = [
        approach_chart(table) if table.layout.is_drawn else score_chart(table, number)
        for number, table in enumerate(tables, 1)
    ]
    exhibits = [chart for chart in charts if chart is not None]
    for benchmark in dict.fromkeys(run.results.benchmark for run in runs):
        shown = [
            ShownRun(
                run.folder,
                run.results,
                names[run.results.weights],
                BACKBONES.get(run.results.backbone, run.results.backbone),
            )
            for run in runs
            if run.results.benchmark == benchmark
        ]
        for function in BENCHMARKS[benchmark].kind.reporting.exhibits:
            exhibits += resolve_name(function)(shown)
    return exhibits
