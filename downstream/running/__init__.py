"""Shared by all kinds of benchmark: inference, repeated seeds, classifiers on disk."""
