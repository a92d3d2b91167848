"""A comparison of pre-training methods: a plan, its rows, how they are run here or by Slurm, and their tables."""
