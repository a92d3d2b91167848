"""Corpora inside tars or Parquet files, unpacked to a table, images and sounds from which shards are built."""
