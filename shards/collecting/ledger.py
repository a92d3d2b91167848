"""What a collection has listed, fetched and rejected: an SQLite file, written step by step, safe from kills."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.errors import UserError, first_line
from shards.records import json_as
from shards.untrusted_text import without_surrogates

LISTED, FETCHED, REJECTED, POSTPONED = "listed", "fetched", "rejected", "postponed"
"""States of an entry. Postponed ones failed for the network's sake, and are tried again by the next run."""

_REMEDY = "move ledger.sqlite away to start over"
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, identifier TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', record TEXT NOT NULL
);
"""
_RENEWED = (
    "UPDATE SET record = excluded.record, state = excluded.state, reason = '', detail = '' "
    f"WHERE entries.state <> '{FETCHED}'"
)


@dataclass(frozen=True)
class Entry:
    """A sound of the list.

    Attributes:
        identifier: unique in the list.
        state: one of the four states.
        reason, detail: of a rejected or postponed one.
        record: what is known of it, as JSON values.
    """

    identifier: str
    state: str
    reason: str
    detail: str
    record: dict[str, Any]


@contextmanager
def opened_database(path: Path, tables: str) -> Iterator[sqlite3.Connection]:
    """Opens an SQLite file for this process alone.

    Args:
        path: the file; it is made if it is missing.
        tables: statements that make the tables.

    Raises:
        UserError: another process works with it, or it is no such file.
    """
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        for statement in filter(str.strip, tables.split(";")):
            connection.execute(statement)
        connection.execute("COMMIT")
        yield connection
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(f"another collect works in {path.parent}; wait for its end") from error
        if "full" in str(error):
            raise UserError(f"no space left for {path}; free up space and run the command again") from error
        raise UserError(f"{path} can't be used: {first_line(error)}; check the disk") from error
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); move it away to start over") from error
    finally:
        connection.close()


class Ledger:
    """The entries of a collection, and facts by name.

    Args:
        connection: from `opened_ledger`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def fact(self, name: str) -> str:
        """The value of a fact, "" if it is none."""
        row = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def state_fact(self, name: str, value: str) -> None:
        """Sets a fact."""
        self._connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def add_page(
        self, records: Iterable[tuple[str, Mapping[str, Any]]], facts: Mapping[str, str], *, renew: bool = False
    ) -> int:
        """Adds a page of a list and sets facts, both or neither.

        Args:
            records: identifier and record of each entry.
            facts: values by name.
            renew: whether known entries that were not fetched get the record and are looked at again; else they stay.

        Returns:
            The count of new entries.
        """
        connection = self._connection
        connection.execute("BEGIN")
        try:
            before = self.num_entries()
            known = _RENEWED if renew else "NOTHING"
            connection.executemany(
                f"INSERT INTO entries (identifier, state, record) VALUES (?, ?, ?) ON CONFLICT DO {known}",
                [(identifier, LISTED, json.dumps(record)) for identifier, record in records],
            )
            added = self.num_entries() - before
            for name, value in facts.items():
                self.state_fact(name, value)
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        return added

    def update(
        self,
        identifier: str,
        state: str,
        *,
        record: Mapping[str, Any] | None = None,
        reason: str = "",
        detail: str = "",
    ) -> None:
        """Sets the state of an entry, and its record if one is given."""
        self._connection.execute(
            "UPDATE entries SET state = ?, reason = ?, detail = ?, record = coalesce(?, record) WHERE identifier = ?",
            (state, reason, without_surrogates(detail), None if record is None else json.dumps(record), identifier),
        )

    def look_again(self, reasons: Sequence[str]) -> None:
        """Makes entries that were rejected for these reasons listed ones again."""
        marks = ", ".join("?" * len(reasons))
        self._connection.execute(
            f"UPDATE entries SET state = '{LISTED}', reason = '', detail = '' WHERE reason IN ({marks})", tuple(reasons)
        )

    def entries(self, states: Sequence[str], limit: int | None = None) -> list[Entry]:
        """The entries of these states, in the order of the list; of the first `limit` of the list."""
        marks = ", ".join("?" * len(states))
        rows = self._connection.execute(
            f"SELECT identifier, state, reason, detail, record FROM entries WHERE state IN ({marks}) "
            "AND number IN (SELECT number FROM entries ORDER BY number LIMIT ?) ORDER BY number",
            (*states, -1 if limit is None else limit),
        )
        return [Entry(a, b, c, d, json_as(dict[str, Any], text, "the ledger", _REMEDY)) for a, b, c, d, text in rows]

    def num_entries(self) -> int:
        """How many entries the list has."""
        return int(self._connection.execute("SELECT count(*) FROM entries").fetchone()[0])

    def counts(self) -> Counter[str]:
        """How many entries are in each state."""
        return Counter(dict(self._connection.execute("SELECT state, count(*) FROM entries GROUP BY state")))

    def reasons(self) -> Counter[str]:
        """How many entries were rejected or postponed for each reason."""
        rows = self._connection.execute("SELECT reason, count(*) FROM entries WHERE reason <> '' GROUP BY reason")
        return Counter(dict(rows))


@contextmanager
def ledger_in_memory(path: Path) -> Iterator[Ledger]:
    """A copy of a ledger, which may be changed without changing the file; an empty one where there is no file.

    Raises:
        UserError: it is damaged.
    """
    with opened_database(Path(":memory:"), _TABLES) as connection:
        if path.is_file():
            # Immutable: no lock, and no file beside it.
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as stored:
                try:
                    stored.backup(connection)
                except sqlite3.DatabaseError as error:
                    raise UserError(f"{path} is damaged ({first_line(error)}); move it away to start over") from error
        yield Ledger(connection)


@contextmanager
def opened_ledger(path: Path) -> Iterator[Ledger]:
    """Opens or makes a ledger, for this process alone.

    Raises:
        UserError: another process works with it, or it is damaged.
    """
    with opened_database(path, _TABLES) as connection:
        yield Ledger(connection)
