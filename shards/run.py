"""Collects, builds, adopts, verifies, describes and exports shard sets: `python shards/run.py VERB`."""

from __future__ import annotations

import sys

from shards.collecting.verbs import COLLECT
from shards.command_line import Verb, Verbs
from shards.errors import run_command

COMMAND = Verbs(
    "Collects corpora, and builds, adopts, verifies, describes and exports shard sets.",
    {
        "collect": COLLECT,
        "build": Verb("shards.building.planning:BuildOptions", "shards.building.commands:run_build"),
        "adopt": Verb("shards.building.adopting:AdoptOptions", "shards.building.adopting:run_adopt"),
        "verify": Verb(
            "shards.building.commands:VerifyOptions", "shards.building.commands:run_verify", positional=True
        ),
        "export": Verb("shards.exporting.options:ExportOptions", "shards.exporting.export:run_export"),
        "info": Verb("shards.building.commands:InfoOptions", "shards.building.commands:run_info", positional=True),
    },
)

if __name__ == "__main__":
    run_command(lambda: COMMAND.carry_out(sys.argv[1:], "python shards/run.py"))
