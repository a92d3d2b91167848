"""Reads CSV as spreadsheets and people write it: usual separators and encodings, `sep=` lines, quotes inside fields."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from shards.errors import UserError
from shards.sources.tables import IsKnown, Table, make_table

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

SAMPLE_CHARACTERS = 2**16
SAMPLE_ROWS = 200
"""The separator is found in the first rows."""

_STATED_SEPARATOR = re.compile(r'"?sep=(?P<mark>[^\r\n])"?[ \t,;|]*(\r\n|\r|\n)', re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")

Record = tuple[int, list[str]]
"""(number of the last line of the record, counted from 1; its fields)."""


def read_delimited(path: Path, limit: int | None, is_known: IsKnown) -> Table:
    """Reads text whose fields are separated by commas, semicolons, tabs or pipes.

    Raises:
        UserError: neither UTF-8, UTF-16 nor Windows-1252, or the separator can't be told.
        OSError: the file can't be read.
    """
    text, notices = decode_text(path)
    stated = _STATED_SEPARATOR.match(text)
    lines_before = 0
    if stated:
        text, lines_before, separator = text[stated.end() :], 1, stated["mark"]
    else:
        separator = find_separator(path, text, is_known)
    records, literal_line = parse(text, separator)
    if literal_line is not None:
        notices.append(
            f"{path.name}, line {literal_line + lines_before}: a quote is not doubled or not closed; such quotes are "
            "read as part of the text"
        )
    numbered = ((line + lines_before, fields) for line, fields in records if any(field.strip() for field in fields))
    _, header = next(numbered, (0, []))
    return make_table(path, header, numbered, limit=limit, unit="line", notices=notices)


def decode_text(path: Path) -> tuple[str, list[str]]:
    """The text of a file in UTF-8, UTF-16 or Windows-1252, without byte order mark, and a notice for the last.

    Raises:
        UserError: it is none of them.
        OSError: the file can't be read.
    """
    data = path.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in data[:64]:
        encoding = "utf-16-be" if data[:1] == b"\0" else "utf-16-le"
    else:
        encoding = "utf-8-sig"
    try:
        return data.decode(encoding), []
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise UserError(f"{path} is not UTF-16 (byte {error.start}); save it as UTF-8") from error
        place = error.start
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {place}) and not Windows-1252 (byte {error.start}); save it as UTF-8"
        ) from error
    # One byte is one character in this encoding.
    start, end = (text.rfind("\n", 0, place) + 1, place)
    word = re.search(r"[^\s,;|\"]*$", text[start:end])
    ending = re.match(r"[^\s,;|\"]*", text[end:])
    shown = (word[0] if word else "") + (ending[0] if ending else "")
    line = len(_LINE_END.findall(text, 0, place)) + 1
    return text, [f"{path.name} is not UTF-8 and was read as Windows-1252; line {line} then has {shown[:40]!r}"]


def find_separator(path: Path, text: str, is_known: IsKnown) -> str:
    """The separator: of those that divide the header the one that gives most known columns, then most whole rows.

    Raises:
        UserError: two do equally well.
    """
    sample = text[:SAMPLE_CHARACTERS]
    if len(text) > SAMPLE_CHARACTERS:
        sample = sample[: max(sample.rfind("\n"), sample.rfind("\r")) + 1] or sample
    scores: dict[str, tuple[int, float]] = {}
    for mark in SEPARATORS:
        records = [fields for _, fields in parse(sample, mark)[0] if any(field.strip() for field in fields)]
        if records and len(records[0]) > 1:
            header, rows = records[0], records[1 : SAMPLE_ROWS + 1]
            whole = sum(len(row) == len(header) for row in rows) / max(1, len(rows))
            scores[mark] = (sum(map(is_known, header)), whole)
    best = [mark for mark, score in scores.items() if score == max(scores.values())]
    if len(best) > 1:
        names = " or ".join(SEPARATORS[mark] for mark in best)
        raise UserError(
            f"{path}: the columns may be separated by {names}; say which with a first line such as sep={best[-1]} "
            "(a tab after sep= for tabs)"
        )
    return best[0] if best else ","


def parse(text: str, separator: str) -> tuple[list[Record], int | None]:
    """The records of a text and, if quotes were not written as CSV asks, the line of the first that was not.

    Text that is not strictly CSV is read again with quotes taken as text unless they enclose a whole field.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True)
    try:
        return [(reader.line_num, fields) for fields in reader], None
    except csv.Error:
        records = list(_literal_records(text, separator))
    first = next((line for line, _, has_literal in records if has_literal), reader.line_num)
    return [(line, fields) for line, fields, _ in records], first


def _literal_records(text: str, separator: str) -> Iterator[tuple[int, list[str], bool]]:
    """(last line, fields, whether one of them begins with a quote that is part of the text) of each record."""
    mark = re.escape(separator)
    field = re.compile(rf' *"([^"]*(?:""[^"]*)*)" *(?=[{mark}\r\n]|\Z)|([^{mark}\r\n]*)')
    position, line, fields, has_literal = 0, 1, list[str](), False
    while True:
        match = field.match(text, position)
        assert match is not None  # the second alternative also matches nothing
        quoted, plain = match.groups()
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        has_literal |= quoted is None and plain.lstrip().startswith('"')
        line += len(_LINE_END.findall(match[0]))
        position = match.end()
        if position == len(text):
            yield line, fields, has_literal
            return
        if text[position] == separator:
            position += 1
            continue
        yield line, fields, has_literal
        fields, has_literal = [], False
        line += 1
        position += 2 if text.startswith("\r\n", position) else 1
