"""Loading and saving weights: files, model folders, the hub, and the identity of weights."""
