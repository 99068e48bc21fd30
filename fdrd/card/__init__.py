"""Dataset card: README.md with YAML metadata, and Croissant metadata. Imports `checks` and the rooms below it."""
