"""Command lines: what every command has, its verbs and their options."""
