"""Build a fine-category image-text retrieval dataset from a raw source, and read it.

    import fdrd

    fdrd.build("raw/")                          # Arrow shards, manifest and card in data/fdrd
    test = fdrd.load("data/fdrd", "test")       # distinct images and captions of a split

The command line (`fdrd --help`) does the same and more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdrd.build_config import BuildConfig
    from fdrd.checks.audits import audit
    from fdrd.checks.statistics import stats
    from fdrd.checks.validation import validate
    from fdrd.dataset import RetrievalDataset, load
    from fdrd.errors import FdrdError
    from fdrd.exports.webdataset import export
    from fdrd.hub.dataset_repository import push
    from fdrd.pipeline.builder import Build, build

_HOMES = {
    "Build": "pipeline.builder",
    "BuildConfig": "build_config",
    "FdrdError": "errors",
    "RetrievalDataset": "dataset",
    "audit": "checks.audits",
    "build": "pipeline.builder",
    "export": "exports.webdataset",
    "load": "dataset",
    "push": "hub.dataset_repository",
    "stats": "checks.statistics",
    "validate": "checks.validation",
}

__all__ = [
    "Build",
    "BuildConfig",
    "FdrdError",
    "RetrievalDataset",
    "audit",
    "build",
    "export",
    "load",
    "push",
    "stats",
    "validate",
]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line starts at once."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fdrd' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fdrd.{_HOMES[name]}"), name)
