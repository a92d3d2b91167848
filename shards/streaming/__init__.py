"""Reads a finished shard set: indexes, sample order, caching and remote fetching."""
