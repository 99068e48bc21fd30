"""Datasets in the formats of other tools, one module per format.

May import `dataset` and everything below it. Others use `writing.export` and `formats`.
"""
