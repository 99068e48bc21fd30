"""Dataset card: README.md with YAML metadata, and Croissant metadata.

May import `checks`, `storage`, and what is below them. Others use `render`, `croissant`, and `front_matter`.
"""
