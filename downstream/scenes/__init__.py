"""Scene recognition: benchmarks, data, fine-tuning and frozen-feature protocols."""
