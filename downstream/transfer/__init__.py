"""Sound-event transfer for audiovisual scene recognition (Hu et al., ECCV 2020)."""
