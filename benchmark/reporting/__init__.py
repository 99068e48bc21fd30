"""Reporting: comparisons as tables for the terminal, Markdown and HTML, and published method cards.

Reads results; trains and measures nothing. Others use `report`, `markdown` and `table`, which
`benchmark` exports.
"""
