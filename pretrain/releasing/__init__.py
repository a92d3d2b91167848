"""The release of weights: a folder that loads in two lines, with a model card, a notice on rights and checksums."""
