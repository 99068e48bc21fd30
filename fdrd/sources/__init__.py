"""Readers of raw sources: one module per layout in `layouts/`, shared parts in `reading/`.

May import `fdrd.files`, `fdrd.text`, `fdrd.images` and the types below them. `layouts` lists the layouts, `domains`
finds and reads the domains of a source, `explain` says how, and what is not read.
"""
