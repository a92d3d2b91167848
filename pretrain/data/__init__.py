"""Training batches: which samples, in which order, and which views of them the encoders see."""
