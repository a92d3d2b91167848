"""The training loop and what it needs: tasks, checkpoints, gradient caching, tracking and monitoring."""
