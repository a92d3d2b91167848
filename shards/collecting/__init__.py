"""Collects corpora from their sources: sounds of an archive or a list, imagery of each place, and cleaning."""
