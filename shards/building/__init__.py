"""From a corpus to a finished shard set: planning, packing, checking and describing."""
