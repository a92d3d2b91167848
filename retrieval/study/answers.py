"""Stores answers in SQLite: each is on disk before the rater sees the next pair, and none is ever overwritten."""

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
"""Maximum wait for another writer."""

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
        path: the database, created if missing.
        study: identity of the study; see `retrieval.study.folder.Study.identity`.

    Attributes:
        secret: a random text stored with the answers, from which form tokens are derived, so that they survive a
            restart.

    Raises:
        UserError: the database can't be opened, or holds answers to another study.
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
            raise UserError(f"answers can't be stored in {path} ({error}); check the disk and the file") from error
        if kept["study"] != study:
            raise _other_study(path)
        self.secret: str = kept["secret"]

    def add_rater(self) -> str:
        """Adds a rater who has agreed to take part, and returns a random id."""
        rater = secrets.token_urlsafe(16)
        with self._connect() as connection:
            connection.execute("INSERT INTO raters (id, agreed_at) VALUES (?, ?)", (rater, _now()))
        return rater

    def has_rater(self, rater: str) -> bool:
        """Whether a rater with this id has agreed to take part."""
        with self._connect() as connection:
            return connection.execute("SELECT 1 FROM raters WHERE id = ?", (rater,)).fetchone() is not None

    def record(self, rater: str, pair: str, answer: str) -> None:
        """Appends an answer; when this returns, the answer is on disk.

        Raises:
            sqlite3.Error: the answer was not stored: unknown rater, invalid answer, full disk …
        """
        row = (rater, pair, answer, _now())
        with self._connect() as connection:
            connection.execute("INSERT INTO answers (rater, pair, answer, answered_at) VALUES (?, ?, ?, ?)", row)

    def of_rater(self, rater: str) -> dict[str, str]:
        """A rater's last answer to each answered pair."""
        query = "SELECT pair, answer FROM answers WHERE rater = ? ORDER BY number"
        with self._connect() as connection:
            return dict(connection.execute(query, (rater,)).fetchall())

    def last_ones(self) -> list[GivenAnswer]:
        """Each rater's last answer to each answered pair."""
        return last_ones_in(self._path, self._study)

    def num_raters(self) -> int:
        """The number of raters who agreed to take part, including those without answers."""
        return raters_in(self._path)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """A connection that commits each statement to disk."""
        with closing(sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            yield connection


def raters_in(path: Path, *, from_copy: bool = False) -> int:
    """The number of raters in the database at `path`, of any study.

    Args:
        path: the database.
        from_copy: change nothing in its folder, where SQLite would merge its log.

    Raises:
        UserError: it can't be read.
    """
    with _reading(path, from_copy=from_copy) as connection:
        if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'raters'").fetchone():
            return 0
        return int(connection.execute("SELECT count(*) FROM raters").fetchone()[0])


def last_ones_in(path: Path, study: str) -> list[GivenAnswer]:
    """Each rater's last answer to each answered pair, in the database at `path`.

    Args:
        path: the database; its folder may be read-only.
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
def _reading(path: Path, *, from_copy: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection for reading; SQLite errors within the block become a `UserError`.

    SQLite needs write access to the folder even to read a database with a write-ahead log; without it, or with
    `from_copy`, a copy is read.
    """
    try:
        with ExitStack() as stack:
            place = path
            if from_copy or not os.access(path.parent, os.W_OK):
                place = Path(stack.enter_context(tempfile.TemporaryDirectory())) / path.name
                for file in (path, path.with_name(f"{path.name}-wal")):
                    if file.exists():
                        shutil.copyfile(file, place.with_name(file.name))
            yield stack.enter_context(closing(sqlite3.connect(place, timeout=WAIT_SECONDS)))
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{path} can't be read ({error}); check the file, or give another folder") from error


def _other_study(path: Path) -> UserError:
    return UserError(f"{path} holds answers to a study other than study.json beside it; restore the right one")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
