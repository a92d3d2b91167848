"""Untrusted records: JSON within limits, typed, and one sentence about what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from shards.errors import UserError, first_line

MOST_BYTES = 256 << 20
"""The longest JSON that is read; the manifest of ten million pairs, a twentieth of them rejected, takes 80 MB."""
MOST_LEVELS = 64
"""The deepest nesting that is read."""
MOST_LETTERS_SHOWN = 60
"""Of a value in a message."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""A number of things or bytes, or a position."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""A checksum in hexadecimal."""

T = TypeVar("T")


class DamagedRecord(UserError):
    """What was read is not the record that it should be."""


def typed(kind: type[T], value: Any, name: str = "") -> T:
    """Converts a value to a type as pydantic does: lists become tuples, records dataclasses, "5" the number 5.

    Args:
        kind: a class or any other type.
        value: what was read.
        name: of the value, for the message.

    Raises:
        DamagedRecord: it can't be converted; says where, by dotted name, and what was found.
    """
    converted: T = _validated(kind, value, name, is_strict=False)
    return converted


def checked(kind: type[Any], record: dict[str, Any], where: str, remedy: str = "") -> dict[str, Any]:
    """A parsed record as it is, of which some entries were checked.

    Args:
        kind: a TypedDict of the entries whose types are known; nothing is converted.
        record: what was read.
        where: the file that it was read from, for the message.
        remedy: what to do if an entry is of another type; appended to the message.

    Raises:
        DamagedRecord: an entry is missing or of another type; names the file, the place in it, and the remedy.
    """
    try:
        _validated(kind, record, "", is_strict=True)
    except DamagedRecord as error:
        raise DamagedRecord(f"{where}: {error}{remedy and '; '}{remedy}") from error
    return record


def knowing(kind: type[Any]) -> AfterValidator:
    """For a field of a record: its value stays as it is, and the entries that are known are checked, as by `checked`.

    Args:
        kind: a TypedDict of the entries whose types are known.
    """

    def check(value: Any) -> Any:
        _validated(kind, value, "", is_strict=True)
        return value

    return AfterValidator(check)


def _validated(kind: type[Any], value: Any, name: str, *, is_strict: bool) -> Any:
    try:
        return _adapter(cast(Hashable, kind)).validate_python(value, strict=is_strict)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        place = shortened(_printable(".".join([name] * bool(name) + [str(part) for part in fault["loc"]])))
        reason = shortened(f"{fault['msg'][0].lower()}{fault['msg'][1:]}", 2 * MOST_LETTERS_SHOWN)
        raise DamagedRecord(f"{place}{place and ': '}{reason}, got {shown(fault['input'])}") from error


def shown(value: Any) -> str:
    """A value for a message, as Python writes it; a long one is cut."""
    if isinstance(value, dict | list | tuple) and len(value) > MOST_LETTERS_SHOWN:
        return f"{len(value)} values"
    if isinstance(value, str):
        return shortened(repr(value[: MOST_LETTERS_SHOWN + 1]))
    if isinstance(value, int) and abs(value) >= 10**MOST_LETTERS_SHOWN:
        return "a number of more than 60 digits"
    return shortened(repr(value))


def shortened(text: str, most: int = MOST_LETTERS_SHOWN) -> str:
    """A text of at most this many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def json_of(text: str | bytes, where: str, remedy: str = "") -> Any:
    """The value of a JSON text.

    Args:
        text: at most `MOST_BYTES`, with at most `MOST_LEVELS` of lists and objects within each other.
        where: the file that it was read from, for the message.
        remedy: what to do if it is none; appended to the message.

    Raises:
        DamagedRecord: it is no JSON, or not within the limits.
    """
    if len(text) > MOST_BYTES:
        _refuse(where, f"is larger than the {MOST_BYTES >> 20} MB of JSON that are read at most", remedy)
    try:
        value = json.loads(text.decode("utf-8-sig") if isinstance(text, bytes) else text)
    except RecursionError:
        value = None
        is_shallow = False
    except ValueError as error:
        _refuse(where, f"is not JSON: {shortened(first_line(error), 120)}", remedy, error)
    else:
        is_shallow = _is_shallow(value)
    if not is_shallow:
        _refuse(where, f"nests lists and objects deeper than the {MOST_LEVELS} levels that are read", remedy)
    return value


def json_as(kind: type[T], text: str | bytes, where: str, remedy: str = "") -> T:
    """As `json_of`, converted to a type by `typed`.

    Raises:
        DamagedRecord: it is no JSON, not within the limits, or of another type.
    """
    value = json_of(text, where, remedy)
    return record_as(kind, value, where, remedy)


def record_as(kind: type[T], value: Any, where: str, remedy: str = "") -> T:
    """A parsed value converted to a type.

    Raises:
        DamagedRecord: it is of another type; names the file, the place in it, and the remedy.
    """
    try:
        return typed(kind, value)
    except DamagedRecord as error:
        raise DamagedRecord(f"{where}: {error}{remedy and '; '}{remedy}") from error


def read_json(path: Path, remedy: str = "") -> Any:
    """The value of a JSON file; see `json_of`.

    Raises:
        DamagedRecord: the file can't be read, is no JSON, or not within the limits.
    """
    return json_of(read_bytes_within(path, MOST_BYTES, remedy), str(path), remedy)


def read_json_as(kind: type[T], path: Path, remedy: str = "") -> T:
    """The value of a JSON file, converted to a type; see `json_as`.

    Raises:
        DamagedRecord: the file can't be read, is no JSON, not within the limits, or of another type.
    """
    return json_as(kind, read_bytes_within(path, MOST_BYTES, remedy), str(path), remedy)


def holds_json(path: Path) -> bool:
    """Whether a file exists and is valid JSON; a truncated one is not."""
    try:
        read_json(path)
    except DamagedRecord:
        return False
    return True


def read_bytes_within(path: Path, most_bytes: int, remedy: str = "") -> bytes:
    """The content of a regular file, which has at most this many bytes.

    Raises:
        DamagedRecord: it is missing, can't be read, is larger, or is a folder, a pipe or a device.
    """
    try:
        # A pipe would be waited for.
        if path.exists() and not path.is_file():
            _refuse(str(path), "is not a file", remedy)
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: no file has a zero byte in its name
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        _refuse(str(path), f"can't be read: {reason}", remedy, error)
    if len(content) > most_bytes:
        _refuse(str(path), f"is larger than the {most_bytes:,} bytes that are read at most", remedy)
    return content


def as_number(value: Any) -> float | None:
    """A value of a record as a finite number; None if it is none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _refuse(where: str, reason: str, remedy: str, cause: BaseException | None = None) -> NoReturn:
    raise DamagedRecord(f"{where} {reason}{remedy and '; '}{remedy}") from cause


def _is_shallow(value: Any) -> bool:
    """Whether lists and objects are within each other by at most `MOST_LEVELS`."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
