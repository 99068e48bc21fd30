"""The layouts that are known: every module in `layouts/`, in the order in which they are tried."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.sources import layouts
from fdrd.sources.reading.source_folder import SourceFolder


class Reader(Protocol):
    """The functions of a module in `layouts/`. `ORDER` is 0 where a module has none."""

    ORDER: int
    """Layouts with a lower number are tried first; those with the same number in the order of their names."""

    def detect(self, folder: SourceFolder) -> str | None:
        """Return why the folder has this layout, or None."""

    def near_miss(self, folder: SourceFolder) -> str | None:
        """Return what the folder lacks to have this layout, or None; called where no layout matches."""

    def used_files(self, folder: SourceFolder) -> Sequence[str]:
        """Return the annotation files that `read` reads."""

    def read(
        self, folder: SourceFolder, require_images: bool = True
    ) -> Iterator[Record | Rejection]:
        """Yield the pairs of the folder, in an order that depends on its content only.

        What claims to be a pair and is not one is a `Rejection`. An image without a caption is a record
        with an empty caption. Without `require_images`, pairs whose image is missing are records too.
        """


def _modules() -> dict[str, Reader]:
    names = [module.name for module in pkgutil.iter_modules(layouts.__path__)]
    modules = {name: importlib.import_module(f"{layouts.__name__}.{name}") for name in names}
    order = sorted(names, key=lambda name: (getattr(modules[name], "ORDER", 0), name))
    return {name: cast(Reader, modules[name]) for name in order}


READERS: dict[str, Reader] = _modules()
"""Readers by layout, in the order in which they are tried. The first that detects its layout is used."""
