"""Files that a release ships: they run without Earshot, so they import nothing of it."""
