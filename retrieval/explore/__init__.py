"""The explorer: a local page to search a set of pairs by image or sound and see the results on a map."""
