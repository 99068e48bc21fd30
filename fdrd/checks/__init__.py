"""Checks of a built dataset: validation, statistics, and the audit of captions and negatives.

Imports `storage` and what lies below it.
"""
