"""Load and check everything that a run needs, so that whatever can fail does so before training.

The plan holds the `Settings` of the result file, which also name the file and the checkpoint.
"""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.checkpoint import find_checkpoint, read_header
from benchmark.models import processes
from benchmark.models.backbone import Backbone
from benchmark.models.loading import cached_backbone, capabilities, default_backbone
from benchmark.registry import (
    Method,
    check_backbone,
    complete_options,
    get_method,
    make_method,
    method_options,
    source_digest,
    takes,
)
from benchmark.runner.description import Resources, Run
from benchmark.settings import (
    HALVES,
    NO_BACKBONE,
    Named,
    Settings,
    TrainConfig,
    check_gallery,
    training_options,
)
from benchmark.training.row_selection import (
    Data,
    half_of,
    split_of,
    train_split,
    training_domain,
    training_rows,
)
from fdrd.dataset import Name, RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.files.atomic import sha256_of
from fdrd.options import read_options
from fdrd.storage.registration import registered_folder


@dataclass(frozen=True, eq=False)
class Plan:
    """A run with everything loaded and checked; the method is not trained yet."""

    resources: Resources
    settings: Settings
    method: Method
    backbone: Backbone | None
    rows: Mapping[str, RetrievalDataset]
    """training and validation rows; empty if nothing is trained"""
    measured: RetrievalDataset
    baseline_rows: RetrievalDataset | None
    """training rows of the text-only baseline"""
    checkpoint: Path | None

    @property
    def device(self) -> str:
        """Type of the device that the towers are on."""
        return self.backbone.device.type if self.backbone else "cpu"

    def save_features(self) -> None:
        """Write frozen features, so that a resumed training starts from the same ones."""
        tower = self.backbone
        if tower is not None and tower.frozen is not None and processes.is_first_of_host():
            tower.frozen.flush()


def plan_of(run: Run, resources: Resources) -> Plan:
    """Load and check everything. Whatever can fail without training or encoding fails here."""
    run, checkpoint, config = _with_checkpoint(run)
    resources = opened([run], resources)
    name, data = run.method, resources.data
    tower = None if isinstance(resources.backbone, str | None) else resources.backbone
    options = read_options(method_options(name), run.options, name)
    if tower is not None:
        check_backbone(name, options, tower.can, tower.name)
    if config is None and takes(name, "train"):
        default: TrainConfig = inspect.signature(get_method(name)).parameters["train"].default
        config = default.changed(run.train)
    method = make_method(name, options, backbone=tower, train=config, seed=run.seed)
    if checkpoint is not None and method.learner is None:
        raise FdrdError(f"{name} learns nothing, so it has no checkpoints; leave out `checkpoint`")
    trains = method.trains != "nothing" and checkpoint is None
    domain, categories, shots = run.domain, run.categories, run.shots
    source = training_domain(domain, run.train_domain)
    rows = training_rows(data, source, shots, run.seed, categories) if trains else {}
    measured = split_of(data, run.split, domain)
    if categories is not None:  # both halves, so that an empty one fails before training
        measured = {half: half_of(measured, categories, half) for half in HALVES}[run.half]
    check_gallery(run.gallery, int(np.bincount(measured.image_domain).min()))
    compared = run.hard_negatives and any(measured.negatives)
    baseline_rows = train_split(data, domain) if compared else None
    random = takes(name, "seed") or (trains and shots is not None)
    for each in (measured, *rows.values()):
        each.check_images(resources.progress)
    asked = run.changed(
        data=measured.title,
        backbone=tower.name if tower else None,
        options=options,
        train=training_options(run.train) if takes(name, "train") else {},
    )
    settings = Settings(
        method=name,
        code=source_digest(name) or _new_digest(),
        options=complete_options(name, options),
        options_given=options,
        train=config if trains else None,
        train_given=run.train if trains else {},
        seed=run.seed if random and checkpoint is None else None,
        split=measured.split,  # type: ignore[arg-type]  # `load` accepts these splits only
        domain=domain,
        train_domain=run.train_domain if trains and source != domain else None,
        categories=Named(categories.name, categories.fingerprint) if categories else None,
        half=run.half if categories else None,
        shots=shots if trains else None,
        gallery=run.gallery,
        data=Named(measured.title, measured.fingerprint),
        backbone=Named(tower.name, tower.fingerprint) if tower else NO_BACKBONE,
        learned_from={split: each.fingerprint for split, each in rows.items()},
        checkpoint=sha256_of(checkpoint) if checkpoint else None,
        text_only_from=baseline_rows.fingerprint if baseline_rows else None,
        remarks=dict(getattr(method, "remarks", {})),
        hard_negatives=run.hard_negatives,
        label=run.label,
        asked=[asked.identity()],
    )
    return Plan(resources, settings, method, tower, rows, measured, baseline_rows, checkpoint)


def _new_digest() -> str:
    """Return a digest that no other run has, the same in all processes."""
    return f"{int(processes.agreed(secrets.randbits(53))):064x}"  # a float64 holds 53 bits


def _with_checkpoint(run: Run) -> tuple[Run, Path | None, TrainConfig | None]:
    """Take the options and the training options from the checkpoint, if one is given."""
    if run.checkpoint is None:
        return run, None, None
    if run.options or run.train:
        raise FdrdError(
            f"{run.checkpoint} contains its options; leave out `options` and training options"
        )
    path = find_checkpoint(run.checkpoint)
    learned = read_header(path).settings
    if learned.method != run.method:
        raise FdrdError(f"{path} belongs to {learned.method}; give `method` {learned.method}")
    return run.changed(options=learned.options), path, learned.train


def opened(runs: Sequence[Run], resources: Resources) -> Resources:
    """Return resources with the backbone loaded, if one of the runs takes it. All runs measure the same split.

    Raises:
        FdrdError: the split or the backbone does not exist, or no method works on the backbone.
    """
    backbone, allow_code = resources.backbone, resources.allow_code
    if not any(takes(r.method, "backbone") for r in runs):
        return resources
    # Before the backbone, which may ask the Hub: a wrong split is an error at once.
    split_of(resources.data, runs[0].split, runs[0].domain)
    if not isinstance(backbone, str | None):
        return resources
    if backbone is None:
        learned, allow_code = runs[0].checkpoint, False
        if learned is None:
            backbone = default_backbone(_loaded_from(resources.data))
        else:
            backbone = read_header(find_checkpoint(learned)).settings.backbone.name
    _check_names(runs, backbone)
    tower = cached_backbone(
        backbone, cache=resources.cache, device=resources.device, allow_code=allow_code
    )
    return replace(resources, backbone=tower)


def _check_names(runs: Sequence[Run], backbone: str) -> None:
    """Refuse runs of which none works on the backbone, before its weights are loaded."""
    if (can := capabilities(backbone)) is None:
        return
    errors = []
    for run in runs:
        options = read_options(method_options(run.method), run.options, run.method)
        try:
            check_backbone(run.method, options, can, backbone)
        except FdrdError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def open_backbone(
    backbone: str | Backbone | None,
    data: Data,
    *,
    cache: Path | None = None,
    device: str | None = None,
    allow_code: bool = False,
) -> Backbone:
    """Return the given or named backbone, or the one that the dataset names, with its frozen features.

    Pass the same backbone to several runs to read its weights once.
    """
    if backbone is None:
        backbone, allow_code = default_backbone(_loaded_from(data)), False
    return cached_backbone(backbone, cache=cache, device=device, allow_code=allow_code)


def _loaded_from(data: Data) -> Name:
    """Return the name of a dataset, also of its loaded splits."""
    if not isinstance(data, Mapping):
        return data
    name = next((split.name for split in data.values()), "")
    if Path(name).is_dir() or registered_folder(name):
        return name
    raise FdrdError("splits do not name a backbone; give `backbone`")
