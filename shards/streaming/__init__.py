"""A finished shard set, read back: opened, indexed, ordered, cached and fetched."""
