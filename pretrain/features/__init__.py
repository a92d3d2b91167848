"""Features of frozen encoders, computed once and stored beside a run."""
