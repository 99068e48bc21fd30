"""Curation: decide which records are kept and in which split. Filters, near duplicates, leaks, splits.

Pure functions over records. Imports `images`, `text` and the shared types. Others use `decide`,
`source_contents` and `splitting`.
"""
