"""Reads tables of spreadsheets and data frames: the first sheet with rows of an XLSX workbook, and Parquet."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.errors import UserError
from shards.records import json_as
from shards.sources.geo_tables import LATITUDE, LONGITUDE, point_of_wkb, refuse_other_reference
from shards.sources.tables import IsKnown, Table, make_table, not_readable, text_of
from shards.zip_files import refuse_bombs

MOST_BYTES = 500_000_000
"""What a table may unpack to: some millions of rows."""
ROWS_AT_ONCE = 10_000


def read_xlsx(path: Path, limit: int | None, _is_known: IsKnown) -> Table:
    """Reads the first visible sheet of a workbook that has rows; formulas give the value that was saved.

    Raises:
        UserError: it is no XLSX workbook, no sheet has rows, or it unpacks to more than `MOST_BYTES`.
    """
    import openpyxl

    refuse_bombs(path, MOST_BYTES, "save it as CSV")
    try:
        with warnings.catch_warnings():
            # Of parts of a workbook that openpyxl leaves out, such as lists to choose from.
            warnings.simplefilter("ignore")
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheets = sorted(book.worksheets, key=lambda sheet: sheet.sheet_state != "visible")
            filled = [(sheet.title, rows) for sheet in sheets if (rows := _rows_of(sheet))]
            book.close()
    except OSError:
        raise
    except Exception as error:  # openpyxl, zipfile and zlib raise many kinds of errors
        raise not_readable(path, "an XLSX workbook", error) from error
    if not filled:
        raise UserError(f"{path} has no rows in any sheet; it needs a row of column names and one row per pair")
    title, rows = filled[0]
    others = ", ".join(repr(name) for name, _ in filled[1:])
    notices = [f"{path.name}: sheet {title!r} is read; other sheets with rows: {others}"] if others else []
    return make_table(path, rows[0][1], rows[1:], limit=limit, unit="row", notices=notices)


def _rows_of(sheet: Any) -> list[tuple[int, list[str]]]:
    """(number, cells as text) of the rows that are not empty."""
    # Some programs state a size of one cell; openpyxl would stop there.
    sheet.reset_dimensions()
    cells = ((number, [text_of(value) for value in row]) for number, row in enumerate(sheet.values, start=1))
    return [(number, row) for number, row in cells if any(cell.strip() for cell in row)]


@dataclass(frozen=True)
class GeoMetadata:
    """GeoParquet's description of its geometry, as far as it is read."""

    primary_column: str = ""
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)


def read_parquet(path: Path, limit: int | None, _is_known: IsKnown) -> Table:
    """Reads a Parquet file; the points of a GeoParquet file become the columns longitude and latitude.

    Raises:
        UserError: it is no Parquet file, its geometry is not in degrees, or it unpacks to more than `MOST_BYTES`.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            batches: list[Any] = []
            num_rows = unpacked = 0
            for batch in file.iter_batches(ROWS_AT_ONCE):
                batches.append(batch)
                num_rows, unpacked = num_rows + batch.num_rows, unpacked + batch.nbytes
                if unpacked > MOST_BYTES:
                    raise UserError(f"{path} unpacks to more than {MOST_BYTES:,} bytes; save only the columns you need")
                if limit is not None and num_rows >= limit:
                    break
            frame = pyarrow.Table.from_batches(batches, file.schema_arrow)
    except UserError:
        raise
    except (pyarrow.ArrowException, ValueError) as error:
        raise not_readable(path, "Parquet", error) from error
    stated = (frame.schema.metadata or {}).get(b"geo", b"{}")
    geo = json_as(GeoMetadata, stated, f"{path}, its geo metadata", "save the table again")
    geometry = geo.primary_column
    if geometry in frame.column_names:
        refuse_other_reference(path, geo.columns.get(geometry, {}).get("crs"))
    names = [name for name in frame.column_names if not name.startswith("__index_level_")]
    plain = [name for name in names if not pyarrow.types.is_binary(frame.schema.field(name).type)]
    rows = frame.slice(0, limit).to_pylist()
    records = [[text_of(row[name]) for name in plain] for row in rows]
    if geometry in names:
        plain += [LONGITUDE, LATITUDE]
        for record, row in zip(records, rows, strict=True):
            record.extend(map(text_of, point_of_wkb(row[geometry]) or ("", "")))
    return make_table(path, plain, enumerate(records, start=1), limit=limit, unit="row")
