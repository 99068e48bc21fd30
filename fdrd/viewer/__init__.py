"""Viewer: see, search, compare, and correct a dataset in the browser (`fdrd view`).

`index` and `facets` answer browsing, `meaning` searches with a backbone, `results` and `retrieved` read runs, `review`
keeps decisions, `server` serves pages.
Is directly below `fdrd.commands`; imports `benchmark` only where results are shown. Others use `server.serve`.
"""
