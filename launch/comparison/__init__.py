"""Comparisons of pre-training methods: plans, their rows, running them locally or with Slurm, and tables."""
