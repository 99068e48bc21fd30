"""The JSON schemas: the contract for other languages."""
