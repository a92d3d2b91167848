"""Settings of a run: their types, defaults and rules, presets, and how they are read and written."""
