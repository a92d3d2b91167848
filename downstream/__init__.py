"""Downstream tasks: scene recognition, land cover and audiovisual scenes from any checkpoint."""
