"""Commands that make, check and share datasets."""
