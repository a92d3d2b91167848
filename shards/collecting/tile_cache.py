"""Answers of imagery services on the local disk, so that no tile is fetched twice; equal ones are stored once."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shards.collecting.ledger import opened_database

REPEATS_OF_A_PLACEHOLDER = 4
"""Addresses from which a picture that is not of one colour must have come to count as a placeholder."""

_TABLES = """
CREATE TABLE IF NOT EXISTS pictures (sha256 TEXT PRIMARY KEY, body BLOB NOT NULL, is_plain INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tiles (
    source TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL,
    PRIMARY KEY (source, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tiles_by_picture ON tiles (source, sha256);
CREATE TABLE IF NOT EXISTS images (
    name TEXT PRIMARY KEY, settings TEXT NOT NULL, fields TEXT NOT NULL, pictures TEXT NOT NULL
);
"""


@dataclass(frozen=True)
class CachedTile:
    """An answer of a service.

    Attributes:
        sha256: of the body; "" if the service has no such tile.
        body: as it came, empty if there is none.
        is_plain: whether it is of one colour.
    """

    sha256: str
    body: bytes
    is_plain: bool


NO_TILE = CachedTile("", b"", False)


class TileCache:
    """The cache of a collection.

    Args:
        connection: from `opened_tile_cache`.
        placeholders: SHA-256 of pictures that mean "no imagery".
    """

    def __init__(self, connection: sqlite3.Connection, placeholders: Iterable[str] = ()) -> None:
        self._connection = connection
        self._placeholders = set(placeholders)

    def get(self, source: str, name: str) -> CachedTile | None:
        """The answer that a source gave for a name; None if it was not asked yet."""
        row = self._connection.execute(
            "SELECT t.sha256, p.body, p.is_plain FROM tiles t LEFT JOIN pictures p USING (sha256) "
            "WHERE source = ? AND name = ?",
            (source, name),
        ).fetchone()
        if row is None:
            return None
        return NO_TILE if not row[0] else CachedTile(row[0], row[1], bool(row[2]))

    def put(self, source: str, name: str, body: bytes, *, is_plain: bool = False) -> CachedTile:
        """Keeps an answer; an empty body means that there is no such tile."""
        sha256 = hashlib.sha256(body).hexdigest() if body else ""
        connection = self._connection
        connection.execute("BEGIN")
        if body:
            connection.execute("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)", (sha256, body, int(is_plain)))
        connection.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)", (source, name, sha256))
        connection.execute("COMMIT")
        return CachedTile(sha256, body, is_plain) if body else NO_TILE

    def is_placeholder(self, source: str, sha256: str) -> bool:
        """Whether a picture means "no imagery": it was named as one, or repeats where images would differ."""
        if sha256 in self._placeholders:
            return True
        row = self._connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM tiles t JOIN pictures p USING (sha256) WHERE source = ? "
            "AND sha256 = ? AND NOT p.is_plain LIMIT ?)",
            (source, sha256, REPEATS_OF_A_PLACEHOLDER),
        ).fetchone()
        return bool(row[0] >= REPEATS_OF_A_PLACEHOLDER)

    def finished(self, name: str) -> tuple[str, str, list[str]] | None:
        """Settings, fields and pictures of an image that was written; None if it was not."""
        row = self._connection.execute(
            "SELECT settings, fields, pictures FROM images WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else (row[0], row[1], row[2].split())

    def finish(self, name: str, settings: str, fields: str, pictures: Iterable[str]) -> None:
        """Notes that an image is written, from which settings, and of which pictures."""
        words = (name, settings, fields, " ".join(sorted(set(pictures))))
        self._connection.execute("INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?)", words)


@contextmanager
def opened_tile_cache(path: Path, placeholders: Iterable[str] = ()) -> Iterator[TileCache]:
    """Opens or makes the cache, for this process alone.

    Raises:
        UserError: another process works with it, or it is damaged.
    """
    with opened_database(path, _TABLES) as connection:
        yield TileCache(connection, placeholders)
