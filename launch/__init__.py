"""Launch files for machines and clusters, and comparisons of methods."""
