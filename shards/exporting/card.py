"""The card of an export: the hub's metadata, what the columns are, and what licences say."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from shards.exporting.writer import Contents
from shards.untrusted_text import as_code

DATA_FOLDER = "data"
_HUB_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def data_card(contents: Contents, features: Mapping[str, Any]) -> str:
    """Writes the card, in Markdown with the hub's metadata.

    Args:
        contents: what is exported.
        features: the columns, as `datasets` describes them.
    """
    manifest = contents.manifest
    spectrogram = manifest.spectrogram
    licence = as_code(manifest.licence) if manifest.licence else "not stated"
    counts = ", ".join(f"{count:,} {split}" for split, count in contents.splits.items())
    names = ", ".join(as_code(name) for name in contents.metadata) or "none"
    preview = (
        "| `preview` | a listening clip of at most 10 seconds, MP3; whole recordings are not in a shard set |\n"
        if "preview" in features
        else ""
    )
    scale = spectrogram.scale
    meaning = f"v means {scale.low:g} + v · {scale.high - scale.low:g} / 255, {scale.name}"
    return f"""---
{_front_matter(contents, manifest.licence)}---

# Pairs of overhead images and sounds

Exported from a shard set of Earshot, source {as_code(manifest.source)}: {counts} pairs.
Licence of the corpus as a whole: {licence}. Each pair states its own where there is one.

| column | |
|---|---|
| `key` | name of the pair |
| `image` | JPEG, as stored in the shards |
| `spectrogram` | bytes, (frames, {spectrogram.mel_bands} mel bands); {meaning} |
{preview}| metadata | {names} |

```python
from datasets import load_dataset

pairs = load_dataset("FOLDER")  # this folder
```
"""


def _front_matter(contents: Contents, licence: str) -> str:
    lines = []
    if _HUB_LICENCE.fullmatch(licence):
        lines.append(f"license: {licence}")
    elif licence:
        lines += ["license: other", f"license_name: {json.dumps(licence, ensure_ascii=False)}"]
    lines += ["configs:", "- config_name: default", "  data_files:"]
    for split in contents.splits:
        name = hub_split(split)
        lines += [f"  - split: {name}", f"    path: {DATA_FOLDER}/{name}-*"]
    return "".join(f"{line}\n" for line in lines)


def hub_split(split: str) -> str:
    """The name of a split on the hub."""
    return "validation" if split == "val" else split
