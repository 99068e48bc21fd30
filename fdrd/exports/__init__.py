"""Datasets in the formats of other tools, one module per format.

May import `dataset` and everything below it. Others use `webdataset.export`.
"""
