"""What all kinds of benchmark share while they run: inference, repeated seeds, classifiers on disk."""
