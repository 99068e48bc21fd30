"""Find mistakes in a description of runs in a second, without torch: before anything is loaded or trained."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.models.loading import check_backbone_name, check_device
from benchmark.registry import check_options, takes
from benchmark.runner.description import Run
from benchmark.settings import TrainConfig, check_gallery
from benchmark.training.row_selection import Data, split_of, training_domain
from fdrd.dataset import MissingSplitError, load_rows
from fdrd.errors import FdrdError
from fdrd.kinds import refuse_other
from fdrd.record import SPLITS
from fdrd.storage.manifest import read_manifest
from fdrd.storage.registration import registered_folder


def check_runs(
    runs: Iterable[Run],
    *,
    data: Mapping[str, Data] | None = None,
    device: str | None = None,
    results: str | Path | None = None,
) -> None:
    """Refuse runs that would fail later, as far as names, options and rows say so."""
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
        run.changed(options={}, train={}, seed=0, label="", search=None) for run in runs
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
    parts = [(run.split, run.domain)]
    # A preset says itself which domains cannot be trained on.
    if run.checkpoint is None and run.preset is None and takes(run.method, "train"):
        source = training_domain(run.domain, run.train_domain)
        parts += [("train", source), ("validation", source)]
    if isinstance(data, Mapping):
        images = [np.bincount(split_of(data, *part).image_domain).min() for part in parts]
    else:
        images = [_smallest(os.fspath(data), *part) for part in parts]
    if images[0] is not None:
        check_gallery(run.gallery, int(images[0]))


def _smallest(name: str, split: str, domain: str | None) -> int | None:
    """Return the images of the smallest domain in a split, from the manifest; None for a dataset of the Hub."""
    folder = Path(name) if Path(name).exists() else registered_folder(name)
    if folder is None and "/" not in name:  # a name of the Hub has one
        raise FdrdError(
            f"no dataset {name!r}: not a folder, and not built on this machine; build it with `fdrd build`, name "
            "another, or give ORG/NAME of the Hub"
        )
    if folder is None:
        load_rows(name, split, domain)
        return None
    refuse_other(folder, "a dataset", "dataset")
    if split not in SPLITS:
        raise FdrdError(f"unknown split {split!r}; choose from {', '.join(SPLITS)}")
    domains = read_manifest(folder).splits
    chosen = [
        counts[split].images
        for each, counts in domains.items()
        if split in counts and domain in (None, each)
    ]
    if not chosen:
        missing = " of ".join(part for part in (split, domain) if part)
        others = {
            each for known, splits in domains.items() if domain in (None, known) for each in splits
        }
        remedy = f"its domains are {', '.join(domains)}"
        if others:
            remedy = f"choose {' or '.join(filter(others.__contains__, SPLITS))} with `split`"
        raise MissingSplitError(f"{name} has no {missing}; {remedy}")
    return min(chosen)


def check_writable(folder: Path) -> None:
    """Refuse a folder that cannot be written; it is not created."""
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
