"""Commands that train, measure, compare and search."""
