"""Opens a shard set, checks its files and decodes an image from its middle: THIS FOLDER; prints seconds and MiB."""

from __future__ import annotations

import json
import sys
import time

from benchmarks.measuring import memory_mib

from shards.streaming.reading import ShardSet

before = memory_mib("VmRSS")
started = time.perf_counter()
shard_set = ShardSet.open(sys.argv[1])
shard_set.check_files("train")
shard_set.sample("train", shard_set.num_samples("train") // 2).image()
print(json.dumps({"open_s": time.perf_counter() - started, "more_mib": memory_mib("VmRSS") - before}))
