"""Your own image/sound pairs: metadata.csv with a column for the label and one for the location."""

from __future__ import annotations

from pathlib import Path

from downstream.audiovisual.benchmark import FoundPairs, ScenePair
from shards.errors import RejectedPair
from shards.sources.metadata_table import TABLE_NAME, read_table, require_columns
from shards.sources.recordings import PairFiles


def has_table(root: Path) -> bool:
    """Whether a root has the layout of `recordings` rather than that of ADVANCE."""
    return (root / TABLE_NAME).is_file()


def find_table_pairs(root: Path, *, label_column: str, group_column: str) -> FoundPairs:
    """The rows of `root/metadata.csv` with their images and sounds, found as a build finds them.

    Args:
        root: the folder.
        label_column: column with the class; rows with an empty value are ignored.
        group_column: column with the location; a row with an empty value has its own location.

    Raises:
        UserError: the table, a column or a folder is missing.
    """
    table = read_table(root)
    remedy = "set other columns with --transfer.label-column, --transfer.group-column and --transfer.event-column"
    require_columns(table, (label_column, group_column), remedy)
    files = PairFiles(table, root, follow_links=True)
    rows = sorted(
        ((table.key_text(row), row) for _, row in table.rows if row[label_column]), key=lambda keyed: keyed[0]
    )
    classes = sorted({row[label_column] for _, row in rows})
    pairs, unpaired = [], []
    for key, row in rows:
        found: dict[str, Path] = {}
        lost: list[str] = []
        for kind, find in (("image", files.find_image), ("sound", files.find_sound)):
            try:
                found[kind] = find(key, row)
            except RejectedPair as rejection:
                _, near, name = rejection.detail.partition("did you mean ")
                lost.append(f"{kind} ({near}{name})" if near else kind)
        if lost:
            unpaired.append(f"of {key} there is no {' and no '.join(lost)}")
            continue
        pairs.append(
            ScenePair(key, found["image"], found["sound"], classes.index(row[label_column]), row[group_column] or key)
        )
    return FoundPairs(classes, pairs, unpaired)
