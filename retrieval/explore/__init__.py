"""The explorer: a local page that asks a set of pairs by an image or a sound, and shows where the answers lie."""
