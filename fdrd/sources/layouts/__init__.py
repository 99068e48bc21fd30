"""One reader per raw layout: a new layout is one new module here, with the functions of `Reader`."""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources.reading.pairs import Pairs
from fdrd.sources.reading.source_folder import SourceFolder


class Reader(Protocol):
    """What a module in this package has. `ORDER` is 0, and `near_miss` finds nothing, where a module has none."""

    ORDER: int
    """Layouts with a lower number are tried first; those with the same number in the order of their names."""

    def detect(self, folder: SourceFolder) -> str | None:
        """Return why the folder has this layout, or None."""

    def near_miss(self, folder: SourceFolder) -> str | None:
        """Return what the folder lacks to have this layout, or None; called where no layout matches."""

    def used_files(self, folder: SourceFolder) -> Sequence[str]:
        """Return the annotation files that `read` reads."""

    def read(self, folder: SourceFolder, require_images: bool = True) -> Pairs:
        """Yield the pairs of the folder, in an order that depends on its content only.

        What claims to be a pair and is not one is a `Rejection`. An image without a caption is a record
        with an empty caption. Without `require_images`, pairs whose image is missing are records too.
        """


def _readers() -> dict[str, Reader]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    for module in modules.values():
        vars(module).setdefault("ORDER", 0)
        vars(module).setdefault("near_miss", lambda folder: None)
    order = sorted(names, key=lambda name: (modules[name].ORDER, name))
    return {name: cast(Reader, modules[name]) for name in order}


READERS: dict[str, Reader] = _readers()
"""Readers by layout, in the order in which they are tried. The first that detects its layout is used."""
