"""What a benchmark asks of a trunk: recognising scenes, mapping land cover, recognising scenes by eye and ear."""
