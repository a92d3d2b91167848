"""The verb `collect advance`: keeps sets of different plans apart, builds, and prints what became of the rows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import shards
from shards.atomic_files import write_json, write_text_once
from shards.collecting.advance.building import build_advance
from shards.collecting.advance.label_table import LabelTable, read_label_table
from shards.collecting.advance.options import AdvanceOptions
from shards.collecting.advance.results import PAIRS_NAME, ROWS_NAME, SUMMARY_NAME
from shards.collecting.advance.scene_pairs import IMAGES
from shards.errors import UserError, end_on_sigterm, without_passwords
from shards.locks import lock_folder
from shards.loudness import note
from shards.records import json_of, read_json
from shards.sources.metadata_table import TABLE_NAME

PLAN_NAME = "advance.plan.json"
MOST_HASHED_BYTES = 64 << 20
"""Of larger files, size and time of the last change stand for the content."""


def run_advance(options: AdvanceOptions) -> None:
    """Builds a labelled set by ADVANCE's rules, or says that it is finished.

    Raises:
        UserError: an input can't be used, or the folder holds something else or is in use.
    """
    end_on_sigterm()
    table = read_label_table(options.labels)
    with lock_folder(options.out, "another command builds a set in it"):
        _build(options, table)


def _build(options: AdvanceOptions, table: LabelTable) -> None:
    plan = plan_of(options, table)
    _keep_plan(options.out, plan)
    if (options.out / SUMMARY_NAME).is_file():
        print(f"{options.out} is finished already")
        print_summary(options.out, read_json(options.out / SUMMARY_NAME))
        return
    result = dataclasses.replace(build_advance(options, table), plan=plan)
    result.save(options.out)
    for words in result.notices:
        note(f"note: {words}")
    print_summary(options.out, result.summary())


def plan_of(options: AdvanceOptions, table: LabelTable) -> dict[str, Any]:
    """Everything that the set depends on, as plain JSON values."""
    metadata = options.table or options.root / TABLE_NAME
    return {
        "earshot": shards.__version__,
        "table": _content_of(metadata if metadata.is_file() else options.root / metadata),
        "labels": hashlib.sha256(repr(table).encode()).hexdigest(),
        "osm": None if options.osm is None else _content_of(options.osm),
        "overpass": None if options.overpass is None else without_passwords(options.overpass),
        "corrections": None if options.corrections is None else _content_of(options.corrections),
        "seed": options.seed,
        "tile_pixels": options.tile_pixels,
        "shift_share": options.shift_share,
        "jpeg_quality": options.jpeg_quality,
    }


def _content_of(path: Path) -> str:
    """What stands for the content of a file; "" if there is none, which is reported when it is read."""
    try:
        status = path.stat()
        if status.st_size > MOST_HASHED_BYTES:
            return f"{status.st_size} bytes, {status.st_mtime_ns}"
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _keep_plan(out: Path, plan: dict[str, Any]) -> None:
    """Stores the plan in the folder, or checks that it has the same; raises UserError as `check_plan`."""
    path = out / PLAN_NAME
    try:
        out.mkdir(parents=True, exist_ok=True)
        check_plan(out, plan)
        kept = json_of(write_text_once(path, json.dumps(plan, indent=1)), str(path))
    except OSError as error:
        raise UserError(f"--out {out} can't be written: {error.strerror}; give another folder") from error
    if kept != plan:
        write_json(path, plan)


def check_plan(out: Path, plan: dict[str, Any]) -> None:
    """Checks that a folder is new or empty, or holds a set of this plan.

    Args:
        out: the folder.
        plan: from `plan_of`.

    Raises:
        UserError: it holds other files, or a set with another plan.
    """
    path = out / PLAN_NAME
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise UserError(f"--out {out} holds other files; give a new or empty folder")
        return
    kept = read_json(path)
    # Without images, the last attempt failed before it wrote a pair, as when nothing had a label.
    if kept != plan and (out / IMAGES).exists():
        names = kept if isinstance(kept, dict) else {}
        other = next((name for name in plan if names.get(name) != plan[name]), "plan")
        raise UserError(
            f"--out {out} holds a set with another {other.replace('_', '-')}; give another --out, or remove this one"
        )


def print_summary(out: Path, summary: dict[str, Any]) -> None:
    """Prints the counts of a finished set, and the command that uses it."""
    print(f"{out}: {summary['pairs']:,} pairs of {summary['rows']:,} rows")
    for outcome, count in summary["outcomes"].items():
        print(f"  {count:>7,}  {outcome}")
    words = {"dropped": "dropped: fewer than 10", "shifted": "four shifted tiles each", "kept": "as they are"}
    for name, found in summary["classes"].items():
        print(f"  {name:<20} {found['rows']:>6,} pairs, {words[found['decision']]}: {found['pairs']:,}")
    for reason, count in summary["without_shift"].items():
        print(f"  {count:,} shifted tiles could not be made: {reason}")
    print(f"every row: {out / ROWS_NAME}; every pair: {out / PAIRS_NAME}")
    print(f"next: python downstream/run.py advance --root {out} --allow-partial --weights RUN --out OUT")
