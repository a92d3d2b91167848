"""Builds, verifies and describes shard sets: `python shards/run.py build|verify|info`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from shards.building.build import build, print_build
from shards.building.parts import as_launched
from shards.building.planning import BuildOptions
from shards.errors import end_on_sigterm, run_command


@dataclass(frozen=True)
class VerifyOptions:
    """Checks counts, checksums and indexes of a shard set, and decodes a sample of each shard."""

    shards: tyro.conf.Positional[Path]
    """Folder of the shard set."""


@dataclass(frozen=True)
class InfoOptions:
    """Says what is in a shard set, how many bytes a pair takes, and how near test places are to training places."""

    shards: tyro.conf.Positional[Path]
    """Folder of the shard set."""

    json: bool = False
    """Print JSON."""


VERBS: dict[str, Callable[..., Any]] = {"build": BuildOptions, "verify": VerifyOptions, "info": InfoOptions}


def run_build(options: BuildOptions) -> None:
    """Builds the shards, or this process's part of them, and prints what was used and what was rejected."""
    end_on_sigterm()
    manifest = build(as_launched(options, os.environ))
    if manifest is not None:
        print_build(options.out, manifest)


def run_verify(options: VerifyOptions) -> None:
    """Prints the faults of a shard set; exit status 1 where there are any."""
    from shards.building.verifying import print_verification, verify_shards

    verification = verify_shards(options.shards)
    print_verification(options.shards, verification)
    if verification.faults:
        sys.exit(1)


def run_info(options: InfoOptions) -> None:
    """Prints a description of a shard set."""
    from shards.building.describing import describe_shards, print_description

    description = describe_shards(options.shards)
    if options.json:
        print(json.dumps(description, indent=1, ensure_ascii=False))
    else:
        print_description(options.shards, description)


def main() -> None:
    """Reads the command line and carries out its verb."""
    options = tyro.extras.subcommand_cli_from_dict(VERBS, prog="python shards/run.py", description=__doc__)
    match options:
        case BuildOptions():
            run_build(options)
        case VerifyOptions():
            run_verify(options)
        case InfoOptions():
            run_info(options)


if __name__ == "__main__":
    run_command(main)
