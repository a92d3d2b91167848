"""A small generated world: at each of its places the same hidden factors shape the picture and the sound."""
