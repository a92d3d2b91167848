"""Weights to start from and weights to hand on: files, folders, the hub, and their identity."""
