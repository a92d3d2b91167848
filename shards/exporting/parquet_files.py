"""Parquet files in the layout of the hub, `data/train-00000-of-00003.parquet`, with a card that `datasets` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from shards.atomic_files import write_text_atomically, written_whole
from shards.exporting.card import DATA_FOLDER, data_card, hub_split
from shards.exporting.writer import Contents, Writer
from shards.manifest import ShardEntry
from shards.streaming.reading import StoredSample

ROWS_PER_GROUP = 100
"""As the hub recommends for images: a viewer reads a whole group for one row."""


class ParquetFiles(Writer):
    """A file for each shard. Columns: key, image, spectrogram (frames, mel bands), preview, and the metadata."""

    def __init__(self, out: Path, contents: Contents) -> None:
        super().__init__(out, contents)
        self._names = _names(contents.shards)

    @override
    def has(self, shard: ShardEntry) -> bool:
        """Files are renamed when they are complete."""
        return self._path(shard).is_file()

    @override
    def write(self, shard: ShardEntry, samples: Iterator[StoredSample]) -> None:
        """Writes the file of a shard, a row group at a time."""
        import pyarrow
        import pyarrow.parquet

        schema = self._schema()
        self._path(shard).parent.mkdir(exist_ok=True)
        with (
            written_whole(self._path(shard)) as partial,
            pyarrow.parquet.ParquetWriter(partial, schema, compression="zstd") as writer,
        ):
            rows: list[StoredSample] = []
            for sample in samples:
                rows.append(sample)
                if len(rows) == ROWS_PER_GROUP:
                    writer.write_table(self._table(rows, schema))
                    rows = []
            if rows:
                writer.write_table(self._table(rows, schema))

    @override
    def finish(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
        """Writes the card."""
        write_text_atomically(self.out / "README.md", data_card(self.contents, self._features()))

    def _path(self, shard: ShardEntry) -> Path:
        return self.out / DATA_FOLDER / self._names[shard.name]

    def _features(self) -> dict[str, Any]:
        """The columns as `datasets` describes them in a file's schema."""
        kinds = self.contents.metadata
        return {
            "key": {"dtype": "string", "_type": "Value"},
            "image": {"_type": "Image"},
            "spectrogram": {
                "feature": {"feature": {"dtype": "uint8", "_type": "Value"}, "_type": "Sequence"},
                "_type": "Sequence",
            },
            **({"preview": {"_type": "Audio"}} if self.contents.has_previews else {}),
            **{name: {"dtype": _FEATURES[kind], "_type": "Value"} for name, kind in kinds.items()},
        }

    def _schema(self) -> Any:
        import pyarrow

        media = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
        types = {"double": pyarrow.float64(), "int64": pyarrow.int64(), "bool": pyarrow.bool_()}
        fields = [
            ("key", pyarrow.string()),
            ("image", media),
            ("spectrogram", pyarrow.list_(pyarrow.list_(pyarrow.uint8()))),
            *([("preview", media)] if self.contents.has_previews else []),
            *((name, types.get(kind, pyarrow.string())) for name, kind in self.contents.metadata.items()),
        ]
        info = {"info": {"features": self._features()}}
        return pyarrow.schema(fields, metadata={"huggingface": json.dumps(info)})

    def _table(self, samples: Sequence[StoredSample], schema: Any) -> Any:
        import pyarrow

        metadata = [sample.metadata() for sample in samples]
        columns: dict[str, Any] = {
            "key": [sample.key for sample in samples],
            "image": [{"bytes": sample.image_bytes(), "path": f"{sample.key}.jpg"} for sample in samples],
            "spectrogram": _spectrograms(samples),
        }
        if self.contents.has_previews:
            columns["preview"] = [
                None if (clip := sample.preview()) is None else {"bytes": clip, "path": f"{sample.key}.mp3"}
                for sample in samples
            ]
        for name, kind in self.contents.metadata.items():
            columns[name] = [_value(record.get(name), kind) for record in metadata]
        arrays = [
            columns[field.name]
            if isinstance(columns[field.name], pyarrow.Array)
            else pyarrow.array(columns[field.name], field.type)
            for field in schema
        ]
        return pyarrow.Table.from_arrays(arrays, schema=schema)


_FEATURES = {"double": "float64", "int64": "int64", "bool": "bool", "string": "string", "json": "string"}


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == "json":
        return json.dumps(value, ensure_ascii=False)
    return float(value) if kind == "double" else value


def _spectrograms(samples: Sequence[StoredSample]) -> Any:
    """Spectrograms as lists of frames, each a list of its bands, from the stored bytes without a copy a value."""
    import pyarrow

    frames = [np.ascontiguousarray(sample.frames(0, sample.num_frames).T) for sample in samples]
    bands = frames[0].shape[1]
    lengths = np.cumsum([0, *(len(frame) for frame in frames)])
    values = pyarrow.array(np.concatenate([frame.reshape(-1) for frame in frames]))
    inner = pyarrow.ListArray.from_arrays(
        pyarrow.array(np.arange(lengths[-1] + 1, dtype=np.int32) * np.int32(bands)), values
    )
    return pyarrow.ListArray.from_arrays(pyarrow.array(lengths.astype(np.int32)), inner)


def _names(shards: Sequence[ShardEntry]) -> dict[str, str]:
    """`train-00000-of-00003.parquet` of each tar; `val` is called `validation`, as on the hub."""
    names: dict[str, str] = {}
    for split in dict.fromkeys(shard.split for shard in shards):
        mine = [shard for shard in shards if shard.split == split]
        for number, shard in enumerate(mine):
            names[shard.name] = f"{hub_split(split)}-{number:05d}-of-{len(mine):05d}.parquet"
    return names
