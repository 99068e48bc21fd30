"""Commands that train, measure, compare and search. Each parses, calls one library function and prints."""
