"""Embeds images or sounds in batches, in order; what can't be decoded is an error or is listed as rejected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.file_inputs import Inputs, read_inputs
from retrieval.finite import refuse_not_finite
from retrieval.named_files import is_pattern
from shards.errors import UserError
from shards.progress import ProgressLine


@dataclass(frozen=True)
class Rejected:
    """An image or a sound that could not be decoded.

    Attributes:
        index: its place in what was given, from 0.
        name: its path, or such as images[3].
        reason: a short fixed phrase, such as "truncated image".
        detail: what is wrong with it.
    """

    index: int
    name: str
    reason: str
    detail: str


@dataclass(frozen=True, eq=False)
class Embedded:
    """Images or sounds with their embeddings, and those that have none.

    Attributes:
        embeddings: (k, d) float32.
        names: of each row, such as images[3] or a path: as given, or relative to a folder that was given alone.
        indices: (k,) place of each row in what was given, ascending.
        rejected: what could not be decoded; with the rows, all that was given.
    """

    embeddings: NDArray[np.float32]
    names: list[str]
    indices: NDArray[np.int64]
    rejected: list[Rejected]

    def __repr__(self) -> str:
        rows, dimensions = self.embeddings.shape
        return f"Embedded({rows:,} × {dimensions}, {len(self.rejected):,} rejected)"


def rows_of(embeddings: Any) -> Any:
    """The array of an `Embedded`; what else is given, as it is."""
    return embeddings.embeddings if isinstance(embeddings, Embedded) else embeddings


def embed_sources(
    sources: Sequence[Any],
    names: Sequence[str],
    read: Callable[[Any], Inputs],
    encode: Callable[[list[Inputs]], NDArray[np.float32]],
    *,
    dimensions: int,
    batch_size: int,
    title: str,
    progress: bool,
    stop_at_rejected: bool,
) -> Embedded:
    """Embeds sources in batches.

    Args:
        sources: files, or images or sounds in memory.
        names: of each, for messages.
        read: makes the inputs of one.
        encode: embeds the inputs of up to `batch_size`: (n, d).
        dimensions: d.
        batch_size: how many are embedded at once.
        title: of the progress.
        progress: whether to show it.
        stop_at_rejected: raise for what can't be decoded, instead of listing it.

    Raises:
        UserError: one can't be decoded, an embedding is not finite, or a process that decoded files ended.
    """
    kept: list[int] = []
    rows: list[NDArray[np.float32]] = [np.empty((0, dimensions), np.float32)]
    rejected: list[Rejected] = []
    batch: list[Inputs] = []
    with ProgressLine(title, len(sources), enabled=progress) as line:
        for index, attempt in enumerate(read_inputs(sources, read)):
            if isinstance(attempt, tuple):
                rejected.append(Rejected(index, names[index], *attempt))
                if stop_at_rejected:
                    raise UserError(_refusal(rejected[-1]))
            else:
                kept.append(index)
                batch.append(attempt)
            if len(batch) == batch_size:
                rows.append(encode(batch))
                batch = []
            line.advance()
        if batch:
            rows.append(encode(batch))
    embedded = Embedded(
        np.concatenate(rows), [names[index] for index in kept], np.array(kept, dtype=np.int64), rejected
    )
    refuse_not_finite(embedded.names, embedded.embeddings)
    return embedded


def refuse_missing(sources: Sequence[Any]) -> None:
    """Checks, before anything is decoded, that all files are there.

    Raises:
        UserError: names the first that is not.
    """
    missing = [source for source in sources if isinstance(source, Path) and not source.is_file()]
    if missing:
        more = f", and {len(missing) - 1} others" if len(missing) > 1 else ""
        if missing[0].is_dir():
            raise UserError(f"{missing[0]}{more} in a list of files is a folder; give a folder alone, or its files")
        if is_pattern(missing[0]):
            raise UserError(
                f"no file at {missing[0]}{more}; in a list, patterns are not taken: give the pattern alone, or "
                "glob.glob(pattern)"
            )
        raise UserError(f"no file at {missing[0]}{more}; leave it out, or pass on_error='skip'")


def _refusal(rejected: Rejected) -> str:
    return (
        f"{rejected.name} can't be embedded: {rejected.reason} ({rejected.detail}); leave it out, or pass "
        "on_error='skip', which returns what was rejected and why"
    )
