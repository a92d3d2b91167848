"""What trained weights are good for: scene recognition, land cover and audiovisual scenes from any checkpoint."""
