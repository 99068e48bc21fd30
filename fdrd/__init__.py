"""Build a fine-category image-text retrieval dataset from a raw source, and read it."""
