"""The commands of downstream benchmarks: a run, the default; report."""

from __future__ import annotations

from shards.command_line.verbs import Program, Verbs

BENCHMARK = Program(
    "Fine-tunes or probes trained weights on a benchmark.",
    main="downstream.command:main",
    choices="downstream.command_line:completions",
    positional="downstream.benchmarks:BENCHMARKS",
)
REPORT = Program(
    "Merges results of benchmarks into one table each, beside published figures.",
    main="downstream.reporting.report:report_from",
    choices="downstream.reporting.report:completions",
)

DOWNSTREAM = Verbs(BENCHMARK.description, {"report": REPORT}, default=BENCHMARK)
