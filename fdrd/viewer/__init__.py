"""Viewer: see, search, compare, and correct a dataset in the browser (`fdrd view`).

`index` and `facets` answer browsing, `meaning` searches with a backbone, `results` reads runs, `review` keeps
decisions. A page is a function in `*_pages`, registered with `pages`; `server` serves them.
Is directly below `fdrd.commands`; imports `benchmark` only where results are shown. Others use `server.serve`.
"""
