"""Reporting: comparisons as tables for the terminal, Markdown and HTML, and published method cards.

Imports results; trains and measures nothing.
"""
