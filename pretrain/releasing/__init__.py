"""The release of weights: a folder that others load in two lines, with a card, a notice on rights and checksums."""
