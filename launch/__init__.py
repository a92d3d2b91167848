"""Recipes that use everything below: how to launch on machines and clusters, and whole comparisons."""
