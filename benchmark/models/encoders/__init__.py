"""Encoders by name, one file per kind; each has a `load` function.

`benchmark.models.loading` chooses the file by the prefix of the name.
"""
