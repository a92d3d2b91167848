"""A small generated world: at each place, the same hidden factors shape the image and the sound."""
