"""Answers in SQLite: each is on the disk before the rater sees the next pair, and none is ever overwritten."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shards.errors import UserError

ANSWERS = ("yes", "no", "unplayable")
WAIT_SECONDS = 30.0
"""For another writer's turn."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS raters (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, agreed_at TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    rater TEXT NOT NULL REFERENCES raters (id),
    pair TEXT NOT NULL,
    answer TEXT NOT NULL CHECK (answer IN ('yes', 'no', 'unplayable')),
    answered_at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS answers_of_rater ON answers (rater, pair);
CREATE TRIGGER IF NOT EXISTS answers_stay BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers stay'); END;
CREATE TRIGGER IF NOT EXISTS answers_last BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers stay'); END;
"""


@dataclass(frozen=True)
class GivenAnswer:
    """The last answer of a rater to a pair.

    Attributes:
        rater: number of the rater, counted from 1 in the order in which they agreed.
        pair: id of the pair.
        answer: "yes", "no", or "unplayable" for a sound that could not be played.
    """

    rater: int
    pair: str
    answer: str


class Answers:
    """The answers to one study; several threads and processes may use the file at once.

    Args:
        path: the database, made where it is missing.
        study: identity of the study; see `retrieval.study.folder.Study.identity`.

    Attributes:
        secret: a random text kept with the answers, from which forms' tokens are made: they outlive a restart.

    Raises:
        UserError: no database can be kept there, or it holds answers to another study.
    """

    def __init__(self, path: Path, study: str) -> None:
        self._path, self._study = path, study
        try:
            with self._connect() as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
                for name, value in (("study", study), ("secret", secrets.token_hex(32))):
                    connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, value))
                kept = dict(connection.execute("SELECT name, value FROM settings").fetchall())
        except sqlite3.Error as error:
            raise UserError(f"answers can't be kept in {path} ({error}); check the disk and the file") from error
        if kept["study"] != study:
            raise _other_study(path)
        self.secret: str = kept["secret"]

    def add_rater(self) -> str:
        """Enters a rater, who has just agreed, and returns a random id."""
        rater = secrets.token_urlsafe(16)
        with self._connect() as connection:
            connection.execute("INSERT INTO raters (id, agreed_at) VALUES (?, ?)", (rater, _now()))
        return rater

    def has_rater(self, rater: str) -> bool:
        """Whether a rater of this id has agreed."""
        with self._connect() as connection:
            return connection.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone() is not None

    def record(self, rater: str, pair: str, answer: str) -> None:
        """Appends an answer; when this returns it is on the disk.

        Raises:
            sqlite3.Error: it is not: no such rater, no such answer, a full disk …
        """
        row = (rater, pair, answer, _now())
        with self._connect() as connection:
            connection.execute("INSERT INTO answers (rater, pair, answer, answered_at) VALUES (?, ?, ?, ?)", row)

    def of_rater(self, rater: str) -> dict[str, str]:
        """The last answer of a rater to each pair that they answered."""
        query = "SELECT pair, answer FROM answers WHERE rater = ? ORDER BY number"
        with self._connect() as connection:
            return dict(connection.execute(query, (rater,)).fetchall())

    def last_ones(self) -> list[GivenAnswer]:
        """The last answer of every rater to every pair that they answered."""
        return last_ones_in(self._path, self._study)

    def num_raters(self) -> int:
        """Raters who have agreed, whether they answered or not."""
        return raters_in(self._path)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection that commits each statement, to the disk."""
        with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection


def raters_in(path: Path) -> int:
    """Raters in the database at `path`, to whatever study.

    Raises:
        UserError: it can't be read.
    """
    with _reading(path) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'raters'").fetchone():
            return 0
        return int(connection.execute("SELECT count(*) FROM raters").fetchone()[0])


def last_ones_in(path: Path, study: str) -> list[GivenAnswer]:
    """The last answer of every rater to every pair that they answered, in the database at `path`.

    Args:
        path: the database; nothing is written to it or beside it where that can't be.
        study: identity of the study.

    Raises:
        UserError: it can't be read, or holds answers to another study.
    """
    query = """
        SELECT raters.number, pair, answer FROM answers JOIN raters ON raters.id = rater
        WHERE answers.number IN (SELECT max(number) FROM answers GROUP BY rater, pair) ORDER BY answers.number"""
    with _reading(path) as connection:
        if connection.execute("SELECT value FROM settings WHERE name = 'study'").fetchone() != (study,):
            raise _other_study(path)
        return [GivenAnswer(*row) for row in connection.execute(query)]


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to read from; SQLite errors within the block become a `UserError`.

    To read a database with a write-ahead log SQLite writes beside it; where it can't, a copy is read.
    """
    try:
        with ExitStack() as stack:
            place = path
            if not os.access(path.parent, os.W_OK):
                place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / path.name
                for file in (path, path.with_name(f"{path.name}-wal")):
                    if file.exists():
                        shutil.copyfile(file, place.with_name(file.name))
            yield stack.enter_context(closing(sqlite3.connect(place, timeout=WAIT_SECONDS)))
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{path} can't be read ({error}); check the file, or name another folder") from error


def _other_study(path: Path) -> UserError:
    return UserError(f"{path} holds answers to another study than study.json beside it; put the right one back")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
