"""Encoders, losses, the training loop, checkpoints and ranking metrics of audiovisual pre-training."""
