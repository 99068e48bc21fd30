"""Meta-categories: one file each, discovered by listing this folder.

A new file that defines `META_CATEGORY` is all that a new meta-category takes. It changes which
category an index stands for, and so every image: raise `fdrd.field_guide.EDITION` with it.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from fdrd.field_guide.traits import MetaCategory


@cache
def meta_categories() -> tuple[MetaCategory, ...]:
    """Return all meta-categories, sorted by file name."""
    names = sorted(module.name for module in iter_modules(__path__))
    return tuple(import_module(f"{__name__}.{name}").META_CATEGORY for name in names)
