"""Writes a shard set whose training tars are links to one, in the format of the checkout: THIS FOLDER PAIRS."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tiny_shards import write_tiny_shards

SAMPLES_PER_SHARD = 256
FIRST = "train-000000"

folder, num_pairs = Path(sys.argv[1]), int(sys.argv[2])
write_tiny_shards(folder, {"train": SAMPLES_PER_SHARD, "val": 8}, samples_per_shard=SAMPLES_PER_SHARD)
manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
first, *others = manifest["shards"]
parts = [path for path in folder.iterdir() if path.name.startswith(FIRST)]
names = [f"train-{number:06d}" for number in range(num_pairs // SAMPLES_PER_SHARD)]
for name in names[1:]:
    for part in parts:
        copy = folder / part.name.replace(FIRST, name)
        if part.suffix == ".json":  # it names its shard
            copy.write_text(part.read_text(encoding="utf-8").replace(FIRST, name), encoding="utf-8")
        else:
            os.link(part, copy)
manifest["shards"] = [*({**first, "name": f"{name}.tar"} for name in names), *others]
manifest["splits"]["train"] = SAMPLES_PER_SHARD * len(names)
(folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
print(json.dumps({"pairs": manifest["splits"]["train"]}))
