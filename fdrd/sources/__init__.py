"""Readers of raw sources: one module per layout in `layouts/`, shared parts in `reading/`.

May import `fdrd.files`, `fdrd.text`, `fdrd.images` and the types below them. `layouts` lists the layouts, `domains`
finds and reads the domains of a source, `explain` says how, and what is not read.
"""

from fdrd.sources.domains import Domain, find_domains, near_misses, read_domain
from fdrd.sources.explain import unread_folders, unused_files, unused_text
from fdrd.sources.layouts import READERS, Reader
from fdrd.sources.reading.columns import SourceOptions, make_options
from fdrd.sources.reading.source_folder import SourceFolder

__all__ = [
    "READERS",
    "Domain",
    "Reader",
    "SourceFolder",
    "SourceOptions",
    "find_domains",
    "make_options",
    "near_misses",
    "read_domain",
    "unread_folders",
    "unused_files",
    "unused_text",
]
