"""Dataset card: rendered README, front matter, plots, Croissant metadata.

Imports `checks.audit`, `storage` and what lies below them.
"""
