"""What the commands that collect a corpus read and write, and the servers beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from archive_server import Fault, serve_archive
from commands import python
from pair_folders import write_sound
from shard_commands import files_of
from tile_server import serve_tiles

NUM_SOUNDS = 12


def write_sounds(folder: Path) -> None:
    """A table of places, and a sound for each."""
    generator = np.random.default_rng(0)
    lines = ["key,longitude,latitude,mp3name,title"]
    for number in range(NUM_SOUNDS):
        write_sound(folder / "corpus" / "audio" / f"{number}.wav", 300.0 + 50 * number, generator)
        lines.append(f"{number},{7 + number / 9},48.{number},{number}.wav,{'testsound' if number % 3 else 'river'}")
    (folder / "corpus" / "metadata.csv").write_text("\n".join(lines) + "\n")


@contextmanager
def archive(folder: Path) -> Iterator[dict[str, str]]:
    """An archive of these sounds that takes its time, with an item that has no place."""
    with serve_archive() as server:
        for path in sorted((folder / "corpus" / "audio").iterdir()):
            server.add(f"item_{path.stem}", {path.name: path.read_bytes()}, coverage=f"48.{path.stem},7.25")
            server.always[f"/0/items/item_{path.stem}/{path.name}"] = Fault(seconds_a_chunk=0.005)
        server.add("item_nowhere", {"a.wav": b"x"})
        server.page_items = 5
        (folder / "url").write_text(server.url)
        yield {}


@contextmanager
def map_service(folder: Path) -> Iterator[dict[str, str]]:
    """A service of tiles."""
    with serve_tiles() as server:
        (folder / "url").write_text(server.url)
        yield {}


def collect_aporee(folder: Path, out: Path) -> list[str]:
    """The command that collects from the archive."""
    words = ("--out", out / "corpus", "--base-url", (folder / "url").read_text(), "--rate", 100, "--backoff", 0.01)
    return python("shards/run.py", "collect", "aporee", *words)


def collect_tiles(folder: Path, out: Path) -> list[str]:
    """The command that collects imagery for the places of the table, at two scales."""
    _begin(folder, out)
    words = ("--out", out / "corpus", "--xyz", f"{(folder / 'url').read_text()}/{{z}}/{{x}}/{{y}}.png", "--rate", 200)
    more = ("--terms", "https://t", "--attribution", "A", "--side", 64, "--scales", 1, 3)
    return python("shards/run.py", "collect", "tiles", *words, *more)


def collect_clean(*more: str) -> Callable[[Path, Path], list[str]]:
    """The command that excludes, or restores."""

    def words(folder: Path, out: Path) -> list[str]:
        _begin(folder, out)
        return python("shards/run.py", "collect", "clean", out / "corpus", *more)

    return words


def collected(out: Path) -> dict[str, bytes]:
    """All files but the databases, whose pages depend on when they were written."""
    return {name: content for name, content in files_of(out / "corpus").items() if not name.endswith(".sqlite")}


def _begin(folder: Path, out: Path) -> None:
    """Copies the table to where it is changed in its place; on a full disk, the command says what is missing."""
    table = out / "corpus" / "metadata.csv"
    if not table.exists() and not (out / "corpus" / "excluded.csv").exists():
        with suppress(OSError):
            table.parent.mkdir(exist_ok=True)
            shutil.copy(folder / "corpus" / "metadata.csv", table)
        if table.exists() and table.stat().st_size < (folder / "corpus" / "metadata.csv").stat().st_size:
            table.unlink()
