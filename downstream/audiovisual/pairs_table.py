"""Your own image/sound pairs: metadata.csv with a column for the label and one for the location."""

from __future__ import annotations

from pathlib import Path

from downstream.audiovisual.benchmark import FoundPairs, ScenePair
from shards.data_files import IMAGE_SUFFIXES, SOUND_SUFFIXES
from shards.sources.metadata_table import TABLE_NAME, files_by_stem, read_table, require_columns


def has_table(root: Path) -> bool:
    """Whether a root has the layout of `recordings` rather than that of ADVANCE."""
    return (root / TABLE_NAME).is_file()


def find_table_pairs(root: Path, *, label_column: str, group_column: str) -> FoundPairs:
    """The rows of `root/metadata.csv` with `images/<key>.<suffix>` and `audio/<mp3name>` or `audio/<key>.<suffix>`.

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
    images = files_by_stem(root / "images", IMAGE_SUFFIXES)
    sounds = files_by_stem(root / "audio", SOUND_SUFFIXES)
    rows = sorted((row for _, row in table.rows if row[label_column]), key=lambda row: row["key"])
    classes = sorted({row[label_column] for row in rows})
    pairs, unpaired = [], []
    for row in rows:
        key = row["key"]
        image = images.get(key)
        named = root / "audio" / row["mp3name"] if row.get("mp3name") else sounds.get(key)
        sound = named if named is not None and named.is_file() else None
        if image is None or sound is None:
            lost = [name for name, path in (("image", image), ("sound", sound)) if path is None]
            unpaired.append(f"of {key} there is no {' and no '.join(lost)}")
            continue
        pairs.append(ScenePair(key, image, sound, classes.index(row[label_column]), row[group_column] or key))
    return FoundPairs(classes, pairs, unpaired)
