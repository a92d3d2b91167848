"""Results of many runs as tables, beside the figures that papers published."""
