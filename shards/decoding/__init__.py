"""Decodes sound and image files of common formats to the arrays that a shard stores."""
