"""Which columns of a Parquet file are images, sounds and fields: by the types of `datasets`, or by their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES
from shards.errors import UserError
from shards.records import DamagedRecord, json_as
from shards.unpacking.contents import kind_of

KINDS = {"Image": "image", "Audio": "sound"}
"""Types of `datasets` by the name that it writes into the schema."""
SNIFFED_ROWS = 64
"""Rows in which a value is looked for, in a column whose type does not say what it holds."""


@dataclass(frozen=True)
class _Info:
    """What `datasets` writes into the schema of a file, as far as it is read."""

    features: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Stated:
    info: _Info = field(default_factory=_Info)


@dataclass(frozen=True)
class Columns:
    """Columns of a Parquet file that are read.

    Attributes:
        image, sound: columns of media.
        fields: columns of numbers, texts and records of them.
        unused: the others, such as arrays of features and further images.
    """

    image: str
    sound: str
    fields: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def read(self) -> list[str]:
        """The columns to read."""
        return [*dict.fromkeys((self.image, self.sound, *self.fields))]


def find_columns(path: Path, given: Mapping[str, str]) -> Columns:
    """Finds the columns of a file by its schema and, where that leaves it open, by its first values.

    Args:
        path: the file.
        given: columns of the roles that the user named.

    Raises:
        UserError: a column does not exist, there is no column of images or of sounds, or there are several.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        stated = _stated_kinds(schema.metadata or {}, path)
        kinds = {name: stated[name] for name in schema.names if name in stated}
        kinds |= _sniffed_kinds(file, [name for name in schema.names if name not in kinds])
        # A column of files is surer than one of texts that name files, such as what a sound was called before.
        texts = {name for name in kinds if not (_is_binary(schema.field(name).type) or _is_record(schema, name))}
    chosen = {kind: _choose(kind, kinds, texts, schema.names, given.get(kind, ""), path) for kind in ("image", "sound")}
    media = {*(name for name in kinds if name not in texts), *chosen.values()}
    fields = tuple(name for name in schema.names if name not in media and _is_field(schema.field(name).type))
    unused = tuple(name for name in schema.names if name not in (*fields, *chosen.values()))
    return Columns(chosen["image"], chosen["sound"], fields, unused)


def _stated_kinds(metadata: Mapping[bytes, bytes], path: Path) -> dict[str, str]:
    try:
        stated = json_as(_Stated, metadata.get(b"huggingface", b"{}"), str(path))
    except DamagedRecord:
        return {}
    types = {name: value.get("_type") for name, value in stated.info.features.items() if isinstance(value, dict)}
    return {name: KINDS[kind] for name, kind in types.items() if isinstance(kind, str) and kind in KINDS}


def _sniffed_kinds(file: Any, names: list[str]) -> dict[str, str]:
    """Kinds of the columns whose first value is an image or a sound, or names one."""
    candidates = [name for name in names if _may_be_media(file.schema_arrow.field(name).type)]
    if not candidates:
        return {}
    batch = next(file.iter_batches(SNIFFED_ROWS, columns=candidates), None)
    if batch is None:
        return {}
    found: dict[str, str] = {}
    for name in candidates:
        column = batch.column(batch.schema.get_field_index(name))
        value = next((cell.as_py() for cell in column if cell.is_valid), None)
        if kind := _kind_of_value(value):
            found[name] = kind
    return found


def _kind_of_value(value: Any) -> str:
    content, name = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, value)
    if isinstance(content, bytes):
        known = kind_of(content)
        return known[0] if known else ""
    suffix = Path(name).suffix.lower() if isinstance(name, str) and "://" not in name else ""
    return "image" if suffix in IMAGE_SUFFIXES else "sound" if suffix in SOUND_SUFFIXES else ""


def _choose(kind: str, kinds: Mapping[str, str], texts: set[str], names: list[str], given: str, path: Path) -> str:
    if given:
        if given not in names:
            raise UserError(f"--column {kind}={given}: {path} has no such column; choose one of: {', '.join(names)}")
        return given
    candidates = [name for name in names if kinds.get(name) == kind]
    candidates = [name for name in candidates if name not in texts] or candidates
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise UserError(
            f"{path} has no column of {kind}s; Earshot learns from pairs of both; if it has one, name it with --column "
            f"{kind}=NAME; its columns are: {', '.join(names)}"
        )
    listed = " or ".join(map(repr, candidates))
    raise UserError(f"{path}: the {kind} may be {listed}; say which with --column {kind}={candidates[0]}")


def _may_be_media(kind: Any) -> bool:
    from pyarrow import types

    if types.is_struct(kind):
        return {"bytes", "path"} & {kind.field(number).name for number in range(kind.num_fields)} != set()
    return _is_binary(kind) or types.is_string(kind) or types.is_large_string(kind)


def _is_record(schema: Any, name: str) -> bool:
    from pyarrow import types

    return bool(types.is_struct(schema.field(name).type))


def _is_binary(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _is_field(kind: Any) -> bool:
    """Whether a column holds numbers, texts, times, records of them, or lists of texts."""
    import pyarrow
    from pyarrow import types

    if isinstance(kind, pyarrow.BaseExtensionType) or _is_binary(kind):
        return False
    if types.is_struct(kind):
        return all(_is_field(kind.field(number).type) for number in range(kind.num_fields))
    if types.is_list(kind) or types.is_large_list(kind):
        return types.is_string(kind.value_type) or types.is_large_string(kind.value_type)
    return not types.is_nested(kind)
