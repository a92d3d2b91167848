"""Places on the Earth: the outline of the land, map views, shapes that hold a place, and countries."""
