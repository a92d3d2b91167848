"""What a pair of image and sound is, and how pairs are packed into and streamed out of WebDataset shards."""

__version__ = "0.1.0"
"""The version of Earshot; pyproject.toml reads it."""
