"""The training loop, its tasks, checkpoints, gradient caching, tracking and monitoring."""
