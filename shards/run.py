"""Builds, verifies and describes shard sets, and collects corpora: `python shards/run.py build|verify|info|collect`."""

from __future__ import annotations

import sys

from shards.collecting.verbs import COLLECT
from shards.command_line import Verb, Verbs
from shards.errors import run_command

COMMAND = Verbs(
    "Builds, verifies and describes shard sets, and collects the corpora that they are built from.",
    {
        "build": Verb("shards.building.planning:BuildOptions", "shards.building.commands:run_build"),
        "verify": Verb(
            "shards.building.commands:VerifyOptions", "shards.building.commands:run_verify", positional=True
        ),
        "info": Verb("shards.building.commands:InfoOptions", "shards.building.commands:run_info", positional=True),
        "collect": COLLECT,
    },
)

if __name__ == "__main__":
    run_command(lambda: COMMAND.carry_out(sys.argv[1:], "python shards/run.py"))
