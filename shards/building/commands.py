"""The verbs of `shards/run.py`: build, verify and describe a shard set, and print the results."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from shards.building.build import build, print_build
from shards.building.parts import as_launched
from shards.building.planning import BuildOptions
from shards.errors import UserError, end_on_sigterm


@dataclass(frozen=True)
class VerifyOptions:
    """Checks counts, checksums and indexes of a shard set, and decodes a sample of each shard."""

    shards: Path
    """Folder of the shard set."""


@dataclass(frozen=True)
class InfoOptions:
    """Describes a shard set: its contents, bytes per pair, and how near its test places are to training places."""

    shards: Path
    """Folder of the shard set."""

    json: bool = False
    """Print JSON."""

    report: Path | None = None
    """Folder for a page with the set's statistics, its figures and statistics.json."""

    countries: Path | None = None
    """GeoJSON file of countries' boundaries, such as Natural Earth's Admin 0 at 1:10 million, for the page."""

    def check(self) -> None:
        """Checks what needs no set.

        Raises:
            UserError: boundaries without a page, or a file that does not exist.
        """
        if self.countries is not None and self.report is None:
            raise UserError(f"--countries {self.countries} is for the statistics page; give --report DIR as well")
        if self.countries is not None and not self.countries.is_file():
            raise UserError(f"--countries {self.countries}: no such file; give a GeoJSON file of countries' boundaries")


def run_build(options: BuildOptions) -> None:
    """Builds the shards, or this process's part of them, and prints how many pairs were used and rejected.

    With --check it only checks the corpus, and exits with status 1 if a build would fail.
    """
    end_on_sigterm()
    if options.check_only:
        from shards.building.checking import check_corpus, print_check

        report = check_corpus(options)
        print_check(report)
        if not report.passes:
            sys.exit(1)
        return
    manifest = build(as_launched(options, os.environ))
    if manifest is not None:
        print_build(options.out, manifest)


def run_verify(options: VerifyOptions) -> None:
    """Prints the faults of a shard set; exits with status 1 if there are any."""
    from shards.building.verifying import print_verification, verify_shards

    verification = verify_shards(options.shards)
    print_verification(options.shards, verification)
    if verification.faults:
        sys.exit(1)


def run_info(options: InfoOptions) -> None:
    """Prints a description of a shard set; with --report it also writes the statistics page."""
    from shards.building.describing import describe_shards, print_description
    from shards.reporting.tally import CorpusTally

    tally = None if options.report is None else CorpusTally()
    description = describe_shards(options.shards, tally)
    if options.json:
        print(json.dumps(description, indent=1, ensure_ascii=False))
    else:
        print_description(options.shards, description)
    if options.report is not None and tally is not None:
        from shards.manifest import Manifest
        from shards.reporting.figures import statistics_of
        from shards.reporting.page import write_report

        statistics = statistics_of(Manifest.load(options.shards), tally, options.countries)
        page = write_report(options.report, statistics, tally)
        print(f"report       {page}", file=sys.stderr if options.json else sys.stdout)
