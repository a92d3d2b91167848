"""Writes the embeddings of files as npz, CSV or Parquet; what was left out is named in the npz, or in OUT.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.embedding import save_npz
from shards.atomic_files import replaced_together
from shards.csv_text import csv_text
from shards.untrusted_text import without_surrogates


@dataclass(frozen=True)
class EmbeddedFiles:
    """Files with their embeddings.

    Attributes:
        names: relative to the folder that holds all of them.
        embeddings: (n, d) float32, one row per name.
        rejected: undecodable files: name → (reason, detail).
    """

    names: list[str]
    embeddings: NDArray[np.float32]
    rejected: dict[str, tuple[str, str]]

    def save(self, path: Path, provenance: dict[str, object]) -> None:
        """Writes the file in the format of its suffix, one of `WRITERS`; missing folders are created."""
        WRITERS[path.suffix.lower()](path, self, provenance)


def write_npz(path: Path, embedded: EmbeddedFiles, provenance: dict[str, object]) -> None:
    """Writes embeddings (n, d), names (n,), rejected_names and rejected_reasons, and provenance (JSON)."""
    save_npz(
        path,
        embeddings=embedded.embeddings,
        names=np.array(embedded.names, dtype=np.str_),
        rejected_names=np.array(list(embedded.rejected), dtype=np.str_),
        rejected_reasons=np.array([": ".join(reason) for reason in embedded.rejected.values()], dtype=np.str_),
        provenance=np.array(json.dumps(provenance, ensure_ascii=False)),
    )


def write_csv(path: Path, embedded: EmbeddedFiles, provenance: dict[str, object]) -> None:
    """Writes the columns name and embedding_0 … embedding_(d − 1), whose digits give the same float32 again."""
    header = ["name", *(f"embedding_{i}" for i in range(embedded.embeddings.shape[1]))]
    rows = ([name, *map(str, row)] for name, row in zip(embedded.names, embedded.embeddings, strict=True))
    with replaced_together(_made(path), (_record_name(path), path.name)) as new:
        _write_record(new / _record_name(path), embedded, provenance)
        (new / path.name).write_text(csv_text(header, rows), encoding="utf-8")


def write_parquet(path: Path, embedded: EmbeddedFiles, provenance: dict[str, object]) -> None:
    """Writes the columns name (string) and embedding (a list of d float32 in each row)."""
    import pyarrow as pa
    from pyarrow import parquet

    flat = pa.array(embedded.embeddings.ravel())
    table = pa.table(
        {
            "name": pa.array(map(without_surrogates, embedded.names), pa.string()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, embedded.embeddings.shape[1]),
        }
    )
    with replaced_together(_made(path), (_record_name(path), path.name)) as new:
        _write_record(new / _record_name(path), embedded, provenance)
        parquet.write_table(table, new / path.name)


Writer = Callable[[Path, EmbeddedFiles, dict[str, object]], None]
WRITERS: dict[str, Writer] = {".npz": write_npz, ".csv": write_csv, ".parquet": write_parquet}
"""By the suffix of the file; `retrieval.options` names the same ones."""


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.parent


def _record_name(path: Path) -> str:
    return f"{path.name}.json"


def _write_record(path: Path, embedded: EmbeddedFiles, provenance: dict[str, Any]) -> None:
    """Writes provenance and rejected files, which a table of one row per embedding has no room for."""
    rejected = [
        {"name": name, "reason": reason, "detail": detail} for name, (reason, detail) in embedded.rejected.items()
    ]
    text = json.dumps({"provenance": provenance, "rejected": rejected}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
