"""Curation: decide which records are kept and in which split. Filters, near duplicates, leaks, splits.

Functions over the columns of all pairs. Imports `images`, `text`, `files` and the shared types. Others use
`decide`, `pair_table` and `source_contents`.
"""
