"""Land-cover mapping: benchmarks, tiles, DeepLabv3+, and scores of maps."""
