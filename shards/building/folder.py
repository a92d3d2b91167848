"""The folder that a build writes: who is at work there, which build was begun, what a finished one has lost."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shards.atomic_files import PARTIAL_SUFFIX, partial_path, write_text_once
from shards.building.packing import WORK_FOLDER
from shards.building.parts import Part
from shards.building.planning import BuildPlan, ShardPlan, describe_differences
from shards.errors import UserError
from shards.manifest import MANIFEST_NAME, Manifest, ShardEntry
from shards.schema import PREVIEWS_FOLDER
from shards.streaming.index import index_path

PLAN_NAME = "plan.json"
PARTS_NAME = "parts.json"
LOCK_NAME = "lock"
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
"""How a file system answers that has no locks, such as Lustre that was mounted without them."""


def check_folder(out: Path) -> None:
    """Refuses a folder that holds anything but a shard set or the beginning of one.

    Raises:
        UserError: it does, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; give a folder")
    # What is there is listed before it is known for what: another process may begin the same set at this moment.
    names = [path.name for path in out.iterdir()] if out.is_dir() else []
    if names and not (out / WORK_FOLDER).is_dir() and not is_finished(out):
        raise UserError(f"--out {out} is not empty and is no shard set; give a new folder")


def check_begun(out: Path) -> None:
    """Refuses a folder in which no build was begun.

    Raises:
        UserError: none was.
    """
    if not is_finished(out) and not (out / WORK_FOLDER / PLAN_NAME).is_file():
        raise UserError(f"--out {out} can't be finished: no build was begun there; give the --out of its parts")


def is_finished(out: Path) -> bool:
    """Whether a build has ended there."""
    return (out / MANIFEST_NAME).is_file()


@contextmanager
def at_work_in(out: Path, part: Part | None) -> Iterator[None]:
    """Keeps other builds out of the folder, or out of one part of it; its locks end with the process, however it ends.

    The locks save double work and a word to the user. The set's bytes don't need them: whoever packs a shard writes
    the same bytes under a name of its own and renames them.

    Args:
        out: the shard set.
        part: the part of this process, which works beside other parts; None for one that works alone.

    Raises:
        UserError: another build holds the folder or the part.
    """
    if part is None:
        with _lock(out, LOCK_NAME, fcntl.LOCK_EX, "another build is writing to"):
            yield
        return
    with (
        _lock(out, LOCK_NAME, fcntl.LOCK_SH, "another build is writing to"),
        _lock(out, f"part-{part.number}.lock", fcntl.LOCK_EX, f"another process is building {part} in"),
    ):
        yield


@contextmanager
def _lock(out: Path, name: str, kind: int, is_held: str) -> Iterator[None]:
    path = out / WORK_FOLDER / name
    path.parent.mkdir(exist_ok=True)
    # To be read and written: NFS asks the one for a shared lock, the other for an exclusive one.
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{is_held} --out {out}; wait for its end or give another --out (where a machine that held {path} is "
                "gone for good, remove that file)"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            if name == LOCK_NAME:
                words = "lies on a file system without locks, which can't keep a second build out"
                print(f"warning: --out {out} {words}", file=sys.stderr, flush=True)
        yield


def keep_plan(plan: BuildPlan, out: Path) -> None:
    """Keeps the plan in the folder, so that no other is mixed with it, not even one that begins at this moment.

    Raises:
        UserError: another plan was begun there.
    """
    record = {"source": plan.source, "build": plan.record}
    kept = json.loads(write_text_once(out / WORK_FOLDER / PLAN_NAME, json.dumps(record, indent=1)))
    refuse_another_plan(out, kept["source"], kept["build"], plan, "was begun")


def keep_part_count(part: Part | None, out: Path) -> None:
    """Keeps in how many parts the set is built, until one process works there alone.

    Raises:
        UserError: it was begun in another number of parts.
    """
    path = out / WORK_FOLDER / PARTS_NAME
    if part is None:
        path.unlink(missing_ok=True)
        return
    kept = json.loads(write_text_once(path, json.dumps({"num_parts": part.count})))["num_parts"]
    if kept != part.count:
        raise UserError(
            f"--out {out} was begun in {kept} parts, not in {part.count}; start parts K/{kept}, or go on with one "
            "process alone and --part all, after which other parts may follow"
        )


def begun_parts(out: Path) -> int | None:
    """In how many parts the set is built, None where it isn't in parts."""
    try:
        return int(json.loads((out / WORK_FOLDER / PARTS_NAME).read_text(encoding="utf-8"))["num_parts"])
    except FileNotFoundError:
        return None


def look_afresh(out: Path) -> None:
    """Makes an NFS client ask the server again which files are there.

    A client believes for up to a minute that a file is missing which it didn't find before, unless it writes to the
    folder itself. Two parts that end together would each wait for the other.
    """
    scratch = partial_path(out / WORK_FOLDER / "look")
    scratch.touch()
    scratch.unlink()


def remove_work_folder(out: Path) -> None:
    """Removes `.build/` of a finished set, unless another process is at work there, which will."""
    try:
        with at_work_in(out, None):
            pass
    except (UserError, FileNotFoundError):
        return
    # Not while the lock is open: NFS keeps an open file in its folder.
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)


def clear_partial_files(out: Path, shards: Sequence[ShardPlan] | None = None) -> None:
    """Removes what a killed build left half written, of all files or of some shards."""
    stems = None if shards is None else {Path(shard.name).stem for shard in shards}
    for folder in (out, out / PREVIEWS_FOLDER, out / WORK_FOLDER):
        for partial in folder.glob(f".*{PARTIAL_SUFFIX}"):
            if stems is None or partial.name[1:].split(".")[0] in stems:
                partial.unlink(missing_ok=True)


def refuse_another_plan(out: Path, source: str, record: dict[str, object], plan: BuildPlan, was: str) -> None:
    """Compares the plan of the folder with that of this build.

    Raises:
        UserError: they differ; says in what.
    """
    before, now = {"source": source, **record}, {"source": plan.source, **plan.record}
    if before != now:
        raise UserError(
            f"--out {out} {was} otherwise: {describe_differences(before, now)}; give a new --out, or remove the folder"
        )


def damaged_shards(out: Path, manifest: Manifest) -> dict[str, str]:
    """What is wrong with the files of a finished set, as far as names and sizes tell: shard name → words."""
    return {entry.name: words for entry in manifest.shards if (words := _damage(out, entry))}


def _damage(out: Path, entry: ShardEntry) -> str:
    path = out / entry.name
    if not path.is_file():
        return "is missing"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size:,} bytes in place of {entry.bytes:,}"
    return "" if index_path(path).is_file() else "has no index"
