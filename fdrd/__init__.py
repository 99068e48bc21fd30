"""Build a fine-category image-text retrieval dataset from a raw source, and read it.

    import fdrd

    ds = fdrd.build("photos/", "data/birds", seed=1)    # Arrow shards, manifest and card in data/birds
    ds = fdrd.load("data/birds")                        # the same dataset, later
    ds["test"][0]["image"]                              # a split is a `datasets.Dataset`

Commands for datasets are functions here, those for methods are in `benchmark`. Importing `fdrd` is fast: a name is
imported when it is first used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from fdrd.imports import hidden_packages, lazy_exports

if TYPE_CHECKING:
    from fdrd.build_config import BuildConfig
    from fdrd.captioning import CaptionSettings, caption
    from fdrd.checks.audits import audit
    from fdrd.checks.statistics import stats
    from fdrd.checks.validation import validate
    from fdrd.dataset import RetrievalDataset
    from fdrd.dataset_handle import Dataset, load
    from fdrd.errors import FdrdError
    from fdrd.exports.writing import export
    from fdrd.fetching.fetching_run import fetch
    from fdrd.field_guide.writer import sample
    from fdrd.hub.dataset_repository import push
    from fdrd.pipeline.builder import Build, build
    from fdrd.sources import SourceOptions

    __version__: str

__all__, _get, __dir__ = lazy_exports(
    __name__,
    {
        "fdrd.build_config": "BuildConfig",
        "fdrd.captioning": "CaptionSettings caption",
        "fdrd.checks.audits": "audit",
        "fdrd.checks.statistics": "stats",
        "fdrd.checks.validation": "validate",
        "fdrd.dataset": "RetrievalDataset",
        "fdrd.dataset_handle": "Dataset load",
        "fdrd.errors": "FdrdError",
        "fdrd.exports.writing": "export",
        "fdrd.fetching.fetching_run": "fetch",
        "fdrd.field_guide.writer": "sample",
        "fdrd.hub.dataset_repository": "push",
        "fdrd.pipeline.builder": "Build build",
        "fdrd.sources": "SourceOptions",
    },
)


if sys.argv[:1] != ["-m"] and (hidden := hidden_packages()):  # `python -m fdrd` stops at it
    from warnings import warn

    warn(hidden, stacklevel=2)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("fdrd")
    return _get(name)
