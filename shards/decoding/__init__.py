"""Sound and image files as people have them, decoded to what a shard stores."""
