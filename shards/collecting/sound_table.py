"""Any other geotagged sounds: a table of addresses, whose columns have the roles that `build` gives them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from shards.checksums import file_sha256
from shards.collecting.ledger import REJECTED, Ledger
from shards.collecting.options import SoundTableOptions
from shards.collecting.remote_files import HEX_DIGITS, RemoteFile, checksums_of
from shards.collecting.sound_archive import Sound, SoundArchive, check_length, check_place
from shards.collecting.web import WEB_SCHEMES
from shards.data_files import SOUND_SUFFIXES
from shards.errors import RejectedPair, UserError
from shards.sources.coordinates import LATITUDE_AXIS, LONGITUDE_AXIS, parse_coordinate
from shards.sources.keys import make_key
from shards.sources.metadata_table import check_coordinates
from shards.sources.table_roles import Roles, find_roles, is_usual, parse_columns, plain_name
from shards.sources.tables import FAULT, Table, read_table_file

_CONTENT = "sha256 of the table"


class TableArchive(SoundArchive):
    """The sounds of a table.

    Args:
        options: the table, and which of its sounds are wanted.

    Raises:
        UserError: the table can't be read, or lacks the address or the coordinates.
    """

    name = "sounds"
    requests_per_sound = 1

    def __init__(self, options: SoundTableOptions) -> None:
        self._options = options
        self._table, self._roles, self._url_column = _read(options)

    def list_entries(self, ledger: Ledger) -> None:
        """Lists the rows; another table in the same folder adds its rows."""
        content = file_sha256(self._options.table)
        if ledger.fact(_CONTENT) == content:
            return
        records: dict[str, dict[str, Any]] = {}
        repeated: list[tuple[str, str]] = []
        for place, row in self._table.rows:
            where = f"{self._table.unit} {place}"
            key = _key_of(self._field(row, "key") or row[self._url_column] or where)
            if key in records:
                repeated.append((f"{key} ({where})", f"{where}: {key} stands on {records[key]['where']} already"))
                continue
            fields = {name: value for name, value in row.items() if name != FAULT}
            records[key] = {"where": where, "row": fields, "fault": row.get(FAULT, "")}
        ledger.add_page([*records.items(), *((name, {}) for name, _ in repeated)], {}, renew=True)
        for name, detail in repeated:
            ledger.update(name, REJECTED, reason="duplicate key", detail=detail)
        ledger.state_fact(_CONTENT, content)

    def stated_bytes(self, record: Mapping[str, Any]) -> int | None:
        """The column `bytes`."""
        text = str(record.get("row", {}).get("bytes") or "")
        return int(text) if re.fullmatch(r"\d{1,15}", text) else None

    def describe(self, identifier: str, record: Mapping[str, Any]) -> Sound:
        """Reads the row."""
        where, fields, options = record["where"], record["row"], self._options
        if record["fault"]:
            raise RejectedPair("malformed row", f"{where} {record['fault']}")
        url = str(fields[self._url_column])
        parts = urlsplit(url)
        if parts.scheme.lower() not in WEB_SCHEMES or not parts.hostname:
            raise RejectedPair("no address", f"{where}: {url[:80]!r} is no http or https address")
        longitude, latitude = check_place(self._place(fields), options, where)
        check_length(_number(fields.get("seconds")), options, where)
        size, largest = self.stated_bytes(record), round(options.max_file_mb * 1e6)
        if size is not None and size > largest:
            raise RejectedPair("file too large", f"{where}: {size:,} bytes; see --max-file-mb")
        name = PurePosixPath(unquote(parts.path)).name
        suffix = PurePosixPath(name).suffix.lower()
        row = self._other_columns(fields) | {
            "key": identifier,
            "longitude": repr(longitude),
            "latitude": repr(latitude),
            "original_name": name,
            **{role: self._property(fields, role) for role in self._roles.properties},
        }
        original = self._field(fields, "key")
        if original and original != identifier:
            row["original_key"] = original
        # The content decides how a sound is read, not its name.
        file = RemoteFile(url, size, largest, checksums_of(fields))
        return Sound(file, suffix if suffix in SOUND_SUFFIXES else ".mp3", row)

    def _other_columns(self, fields: Mapping[str, str]) -> dict[str, str]:
        """Columns without a role here, by which a build may split."""
        properties = {name for names in self._roles.properties.values() for name in names}
        taken = {*self._roles.columns.values(), *properties, self._url_column, *HEX_DIGITS, "bytes"}
        return {name: value for name, value in fields.items() if name not in taken}

    def _field(self, row: Mapping[str, Any], role: str) -> str:
        column = self._roles.columns.get(role)
        return str(row.get(column) or "") if column is not None else ""

    def _property(self, row: Mapping[str, Any], role: str) -> str:
        return next((str(row[column]) for column in self._roles.properties[role] if row.get(column)), "")

    def _place(self, row: Mapping[str, Any]) -> tuple[float, float] | None:
        try:
            longitude = parse_coordinate(self._field(row, "longitude"), LONGITUDE_AXIS)
            latitude = parse_coordinate(self._field(row, "latitude"), LATITUDE_AXIS)
            check_coordinates(longitude, latitude)
        except (ValueError, RejectedPair):
            return None
        return longitude, latitude


def _key_of(text: str) -> str:
    """The key for a text; none begins with a minus, which a spreadsheet would take for a formula."""
    key = make_key(text)
    return make_key(f"'{key}") if key.startswith("-") else key


def _read(options: SoundTableOptions) -> tuple[Table, Roles, str]:
    given, other = parse_columns([word for words in options.column for word in words])
    if other is not None:
        raise UserError(f"--column {other}: give role=NAME")
    known = {plain_name(name) for name in (*given.values(), options.url_column)}
    table = read_table_file(options.table, None, lambda name: is_usual(name) or plain_name(name) in known)
    urls = [name for name in table.columns if plain_name(name) == plain_name(options.url_column)]
    if len(urls) != 1:
        raise UserError(
            f"{options.table} has no column {options.url_column!r}; name the one with the addresses with --url-column; "
            f"its columns are: {', '.join(table.columns)}"
        )
    roles = find_roles(str(options.table), [name for name in table.columns if name != urls[0]], table.rows, given)
    missing = [name for name in ("longitude", "latitude") if name not in roles.columns]
    if missing:
        raise UserError(
            f"{options.table} has no column for {' and '.join(missing)}; name it with --column {missing[0]}=NAME; its "
            f"columns are: {', '.join(table.columns)}"
        )
    return table, roles, urls[0]


def _number(value: Any) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None
