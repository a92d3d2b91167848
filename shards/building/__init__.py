"""Building shard sets from a corpus: planning, packing, verifying and describing."""
