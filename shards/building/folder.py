"""The output folder of a build: locks, the plan of the build in progress, and damaged shards of a finished set."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.atomic_files import temporary_beside, write_text_once
from shards.building.packing import WORK_FOLDER
from shards.building.parts import Part
from shards.building.planning import BuildPlan, ShardPlan, describe_differences
from shards.building.rejected_list import REJECTED_NAME, TooManyRejectedError
from shards.errors import UserError
from shards.locks import lock
from shards.loudness import note
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.records import Count, json_as, read_json, read_json_as
from shards.schema import PREVIEWS_FOLDER, SPLITS
from shards.streaming.index import index_name, remove_index
from shards.temporary_files import PARTIAL_SUFFIX

REMEDY = "give another --out, or remove this one to start it again"
PLAN_NAME = "plan.json"
PARTS_NAME = "parts.json"
LOCK_NAME = "lock"
FAILED_NAME = "failed"


def check_folder(out: Path) -> None:
    """Rejects a folder that holds anything but a finished or unfinished shard set.

    Raises:
        UserError: it holds other files, or it is a file itself.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    # List first, then test for a shard set: another process may start the same build in between.
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    # A build that was refused for its rejected rows leaves only their list.
    if set(names) - {REJECTED_NAME} and not (out / WORK_FOLDER).is_dir() and not is_finished(out):
        raise UserError(f"--out {out} is not empty and is no shard set; give a new folder")


def check_begun(out: Path) -> None:
    """Rejects a folder in which no build was started.

    Raises:
        UserError: no build was started.
    """
    if not is_finished(out) and not (out / WORK_FOLDER / PLAN_NAME).is_file():
        raise UserError(f"--out {out} can't be finished: no build was started there; give the --out of its parts")


def is_finished(out: Path) -> bool:
    """Whether the folder holds a finished shard set."""
    return (out / MANIFEST_NAME).is_file()


@contextmanager
def at_work_in(out: Path, part: Part | None) -> Iterator[None]:
    """Locks the folder, or one part of it, against other builds; the operating system releases the locks at exit.

    The locks only prevent double work. The result is correct without them, because every process that packs a shard
    writes the same bytes under a temporary name and renames the file.

    Args:
        out: the shard set.
        part: the part that this process packs while others pack theirs; None for a process that works alone.

    Raises:
        UserError: another build holds the lock.
    """
    if part is None:
        with _lock(out, LOCK_NAME, "another build is writing to"):
            yield
        return
    with (
        _lock(out, LOCK_NAME, "another build is writing to", shared=True),
        _lock(out, f"part-{part.number}.lock", f"another process is building {part} in"),
    ):
        yield


@contextmanager
def _lock(out: Path, name: str, is_held: str, *, shared: bool = False) -> Iterator[None]:
    path = out / WORK_FOLDER / name
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        try:
            has_locks = lock(file, shared=shared)
        except BlockingIOError as error:
            raise UserError(
                f"{is_held} --out {out}; wait until it ends or give another --out (if the machine that held {path} is "
                "permanently gone, remove that file)"
            ) from error
        if not has_locks and name == LOCK_NAME:
            words = "is on a file system without locks; do not start a second build there"
            print(f"warning: --out {out} {words}", file=sys.stderr, flush=True)
        yield


def keep_plan(plan: BuildPlan, out: Path) -> None:
    """Stores the plan in the folder, so that no other plan is mixed with it, even one started at the same time.

    Raises:
        UserError: a build with another plan was started there.
    """
    path = out / WORK_FOLDER / PLAN_NAME
    kept = json_as(_PlanRecord, write_text_once(path, json.dumps(_plan_record(plan), indent=1)), str(path), REMEDY)
    refuse_another_plan(out, kept.source, kept.build, plan, "was started")


@contextmanager
def failures_marked(out: Path) -> Iterator[None]:
    """Marks a build that fails for its rejected pairs, so that another may take its place."""
    try:
        yield
    except TooManyRejectedError:
        # Another part may have finished the set in the meantime, and removed its work files.
        with suppress(FileNotFoundError):
            (out / WORK_FOLDER / FAILED_NAME).touch()
        raise


def forget_failed_build(plan: BuildPlan, out: Path) -> None:
    """Removes a build that failed for its rejected pairs, if this one has another plan; with the same it resumes.

    Only for a process that works alone: it holds the lock, so that no part of the failed build is at work.
    """
    mark, stored = out / WORK_FOLDER / FAILED_NAME, out / WORK_FOLDER / PLAN_NAME
    if not mark.is_file():
        return
    if stored.is_file() and read_json(stored, REMEDY) != _plan_record(plan):
        note(f"{out}: an earlier build with other options failed there; this one starts over", sys.stdout)
        for split in SPLITS:
            for tar in out.glob(f"{split}-*.tar"):
                remove_index(tar)
                tar.unlink()
        shutil.rmtree(out / PREVIEWS_FOLDER, ignore_errors=True)
        for path in (out / WORK_FOLDER).glob("*.json"):
            path.unlink()
        (out / REJECTED_NAME).unlink(missing_ok=True)
    mark.unlink()


@dataclass(frozen=True)
class _PlanRecord:
    """The stored plan of a build."""

    source: str
    build: dict[str, Any]


@dataclass(frozen=True)
class _PartsRecord:
    """The stored number of parts of a build."""

    num_parts: Count


def _plan_record(plan: BuildPlan) -> dict[str, Any]:
    return {"source": plan.source, "build": plan.record}


def keep_part_count(part: Part | None, out: Path) -> None:
    """Stores the number of parts of the build; a process that works alone removes it.

    Raises:
        UserError: the build was started with another number of parts.
    """
    path = out / WORK_FOLDER / PARTS_NAME
    if part is None:
        path.unlink(missing_ok=True)
        return
    text = write_text_once(path, json.dumps({"num_parts": part.count}))
    kept = json_as(_PartsRecord, text, str(path), REMEDY).num_parts
    if kept != part.count:
        raise UserError(
            f"--out {out} was started with {kept} parts, not {part.count}; start parts K/{kept}, or continue with a "
            "single process and --part all, after which another number of parts is possible"
        )


def begun_parts(out: Path) -> int | None:
    """The number of parts of the build, None if it isn't built in parts."""
    path = out / WORK_FOLDER / PARTS_NAME
    return read_json_as(_PartsRecord, path, REMEDY).num_parts if path.exists() else None


def look_afresh(out: Path) -> None:
    """Refreshes an NFS client's view of the folder.

    For up to a minute, a client caches that a file does not exist, unless it writes to the folder itself. Two parts
    that finish at the same time would each consider the other unfinished.
    """
    with temporary_beside(out / WORK_FOLDER / "look"):
        pass


def remove_work_folder(out: Path) -> None:
    """Removes `.build/` of a finished set; if another process is working there, that process will remove it."""
    try:
        with at_work_in(out, None):
            pass
    except (UserError, FileNotFoundError):
        return
    # Only after closing the lock file: NFS keeps open files in the folder.
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)


def clear_partial_files(out: Path, shards: Sequence[ShardPlan] | None = None) -> None:
    """Removes partial files left by a killed build, all of them or those of some shards."""
    stems = None if shards is None else {Path(shard.name).stem for shard in shards}
    for folder in (out, out / PREVIEWS_FOLDER, out / WORK_FOLDER):
        for partial in folder.glob(f".*{PARTIAL_SUFFIX}"):
            if stems is None or partial.name[1:].split(".")[0] in stems:
                partial.unlink(missing_ok=True)


def refuse_another_plan(out: Path, source: str, record: dict[str, object], plan: BuildPlan, was: str) -> None:
    """Compares the plan stored in the folder with the plan of this build.

    Raises:
        UserError: they differ; the message lists the differences.
    """
    before, now = {"source": source, **record}, {"source": plan.source, **plan.record}
    if before != now:
        raise UserError(
            f"--out {out} {was} with other options: {describe_differences(before, now)}; give a new --out, or remove "
            "the folder"
        )


def damaged_shards(out: Path, manifest: Manifest) -> dict[str, str]:
    """The damaged shards of a finished set, judged by file names and sizes: shard name → description."""
    return {entry.name: words for entry in manifest.shards if (words := _damage(out, entry))}


def _damage(out: Path, entry: ShardEntry) -> str:
    path = out / entry.name
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size:,} bytes instead of {entry.bytes:,}"
    return "" if path.with_name(index_name(entry)).is_file() else "has no index"
