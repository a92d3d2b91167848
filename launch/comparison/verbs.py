"""The command that compares pre-training methods."""

from __future__ import annotations

from shards.command_line.verbs import Program

COMPARE = Program(
    "Compares pre-training methods according to a plan: methods × backbones × seeds × benchmarks.",
    main="launch.comparison.command:main",
    choices="launch.comparison.command_line:completions",
    positional="launch.comparison.plan:OWN_PLANS",
)
