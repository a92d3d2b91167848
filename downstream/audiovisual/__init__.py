"""Audiovisual scene recognition on frozen embeddings of both towers."""
