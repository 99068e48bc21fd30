"""Build a fine-category image-text retrieval dataset from a raw source, and read it.

    import fdrd

    fdrd.build("raw/")                          # Arrow shards, manifest and card in data/fdrd
    test = fdrd.load("data/fdrd", "test")       # distinct images and captions of a split

Commands for datasets are functions here, those for methods are in `benchmark`. Importing `fdrd` is fast: a name is
imported when it is first used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fdrd.shadowing import hidden_packages

if TYPE_CHECKING:
    from fdrd.build_config import BuildConfig
    from fdrd.captioning import CaptionSettings, caption
    from fdrd.checks.audits import audit
    from fdrd.checks.statistics import stats
    from fdrd.checks.validation import validate
    from fdrd.dataset import RetrievalDataset, load, load_dataset
    from fdrd.errors import FdrdError
    from fdrd.exports.writing import export
    from fdrd.fetching.fetching_run import fetch
    from fdrd.field_guide.writer import sample
    from fdrd.hub.dataset_repository import push
    from fdrd.pipeline.builder import Build, build
    from fdrd.sources import SourceOptions

    __version__: str

_MODULES = {
    "Build": "pipeline.builder",
    "BuildConfig": "build_config",
    "CaptionSettings": "captioning",
    "FdrdError": "errors",
    "RetrievalDataset": "dataset",
    "SourceOptions": "sources",
    "audit": "checks.audits",
    "build": "pipeline.builder",
    "caption": "captioning",
    "export": "exports.writing",
    "fetch": "fetching.fetching_run",
    "load": "dataset",
    "load_dataset": "dataset",
    "push": "hub.dataset_repository",
    "sample": "field_guide.writer",
    "stats": "checks.statistics",
    "validate": "checks.validation",
}

__all__ = [
    "Build",
    "BuildConfig",
    "CaptionSettings",
    "FdrdError",
    "RetrievalDataset",
    "SourceOptions",
    "__version__",
    "audit",
    "build",
    "caption",
    "export",
    "fetch",
    "load",
    "load_dataset",
    "push",
    "sample",
    "stats",
    "validate",
]


if sys.argv[:1] != ["-m"] and (hidden := hidden_packages()):  # `python -m fdrd` stops at it
    from warnings import warn

    warn(hidden, stacklevel=2)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version("fdrd")
    if name not in _MODULES:
        raise AttributeError(f"module 'fdrd' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fdrd.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
