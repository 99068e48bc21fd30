"""Find mistakes in a description of runs in a second, without torch: before anything is loaded or trained."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.models.backbone_names import check_backbone_name
from benchmark.models.devices import check_device
from benchmark.registry import check_options, takes
from benchmark.runner.description import Run
from benchmark.settings import TrainConfig, check_gallery
from benchmark.training.row_selection import Data, split_of, training_domain
from fdrd.dataset import RetrievalDataset, load_rows
from fdrd.errors import FdrdError


def check_runs(
    runs: Iterable[Run],
    *,
    data: Mapping[str, Data] | None = None,
    device: str | None = None,
    results: str | Path | None = None,
) -> None:
    """Refuse runs that would fail later, as far as names, options and rows say so.

    Args:
        runs: descriptions.
        data: datasets by the name in the runs, if they are not loaded by it.
        device: device of the backbones.
        results: folder to write to.

    Raises:
        FdrdError: an option, the device, the backbone, the split, the domain, the gallery or the folder is wrong, or
            a package is missing.
    """
    check_device(device)
    runs = list(runs)
    for method, options in _distinct((run.method, run.options) for run in runs):
        check_options(method, options)
    for (train,) in _distinct((run.train,) for run in runs):
        TrainConfig().changed(train)
    for backbone in {run.backbone for run in runs if run.backbone is not None}:
        if any(takes(run.method, "backbone") for run in runs if run.backbone == backbone):
            check_backbone_name(backbone)
    for run in _distinct(
        run.changed(options={}, train={}, seed=0, label="", search=None, preset=None)
        for run in runs
    ):
        _check_rows(run, (data or {}).get(run.data, run.data))
    if results is not None:
        check_writable(Path(results))


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _check_rows(run: Run, data: Data) -> None:
    measured = _rows(data, run.split, run.domain, isinstance(run.gallery, int))
    if measured is not None:
        check_gallery(run.gallery, int(np.bincount(measured.image_domain).min()))
    if run.checkpoint is None and takes(run.method, "train"):
        source = training_domain(run.domain, run.train_domain)
        for split in ("train", "validation"):
            learned = _rows(data, split, source, run.shots is not None)
            if learned is not None:
                learned.require_categories("`shots`")


def _rows(data: Data, split: str, domain: str | None, wanted: bool) -> RetrievalDataset | None:
    """Return one split of a dataset if it is wanted, otherwise only check that there is one."""
    if wanted or isinstance(data, Mapping):
        return split_of(data, split, domain) if wanted else None
    load_rows(data, split, domain)
    return None


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written; it is not created.

    Raises:
        FdrdError: it is a file, or cannot be written.
    """
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not existing.is_dir():
        raise FdrdError(f"{existing} is not a folder; give `results` a folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise FdrdError(
            f"{folder} cannot be written ({error.strerror}); give `results` another folder"
        ) from None
