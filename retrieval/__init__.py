"""Cross-modal retrieval with trained weights: embedding, searching, scoring and reporting."""
