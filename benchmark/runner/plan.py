"""Resolve a request: load and check everything, so that whatever can fail does so before training.

The plan holds the `Settings` of the result file, which also name the file and the checkpoint.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.checkpoint import file_digest, find_checkpoint, read_header
from benchmark.evaluation.base_to_new import half_of
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
    remarks_of,
    source_digest,
    takes,
)
from benchmark.runner.request import RunRequest
from benchmark.settings import HALVES, NO_BACKBONE, Named, Settings, TrainConfig
from benchmark.training.row_selection import (
    Data,
    split_of,
    train_split,
    training_domain,
    training_rows,
)
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.options import read_options


@dataclass(frozen=True, eq=False)
class Plan:
    """A request with everything loaded and checked; the method is not trained yet."""

    request: RunRequest
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


def plan_of(request: RunRequest) -> Plan:
    """Resolve a request. Whatever can fail without training or encoding fails here."""
    request, checkpoint, config = _with_checkpoint(request)
    name, data = request.method, request.data
    tower = None
    if takes(name, "backbone"):
        check_names({name: request.options or {}}, request.backbone, data)
    if takes(name, "backbone") or not isinstance(request.backbone, str | None):
        tower = open_backbone(
            request.backbone,
            data,
            cache=request.cache,
            device=request.device,
            allow_code=request.allow_code,
        )
    given = read_options(method_options(name), request.options or {}, name)
    if tower is not None:
        check_backbone(name, given, tower.can, tower.name)
    if config is None and takes(name, "train"):
        default: TrainConfig = inspect.signature(get_method(name)).parameters["train"].default
        config = default.changed(request.train or {})
    method = make_method(name, given, backbone=tower, train=config, seed=request.seed)
    if checkpoint is not None and method.learner is None:
        raise FdrdError(f"{name} learns nothing, so it has no checkpoints; leave out `checkpoint`")
    trains = method.trains != "nothing" and checkpoint is None
    domain, categories, shots = request.domain, request.categories, request.shots
    source = training_domain(domain, request.train_domain)
    rows = training_rows(data, source, shots, request.seed, categories) if trains else {}
    measured = split_of(data, request.split, domain)
    if categories is not None:  # both halves, so that an empty one fails before training
        measured = {half: half_of(measured, categories, half) for half in HALVES}[request.half]
    compared = request.hard_negatives and any(measured.negatives)
    baseline_rows = train_split(data, domain) if compared else None
    random = takes(name, "seed") or (trains and shots is not None)
    for each in (measured, *rows.values()):
        each.check_images(request.progress)
    settings = Settings(
        method=name,
        code=source_digest(name) or _new_digest(),
        options=complete_options(name, given),
        options_given=given,
        train=config if trains else None,
        train_given=dict(request.train or {}) if trains else {},
        seed=request.seed if random and checkpoint is None else None,
        split=measured.split,  # type: ignore[arg-type]  # `load` accepts these splits only
        domain=domain,
        train_domain=request.train_domain if trains and source != domain else None,
        categories=Named(categories.name, categories.fingerprint) if categories else None,
        half=request.half if categories else None,
        shots=shots if trains else None,
        gallery=request.gallery,
        data=Named(measured.name, measured.fingerprint),
        backbone=Named(tower.name, tower.fingerprint) if tower else NO_BACKBONE,
        learned_from={split: each.fingerprint for split, each in rows.items()},
        checkpoint=file_digest(checkpoint) if checkpoint else None,
        blind_from=baseline_rows.fingerprint if baseline_rows else None,
        remarks=remarks_of(method),
        hard_negatives=request.hard_negatives,
    )
    return Plan(request, settings, method, tower, rows, measured, baseline_rows, checkpoint)


def _new_digest() -> str:
    """Return a digest that no other run has, the same in all processes."""
    number = int(processes.agreed(secrets.randbits(53)))  # a float64 holds it
    return hashlib.sha256(str(number).encode()).hexdigest()


def _with_checkpoint(
    request: RunRequest,
) -> tuple[RunRequest, Path | None, TrainConfig | None]:
    """Take the options, the backbone and the training options from the checkpoint, if one is given."""
    if request.checkpoint is None:
        return request, None, None
    if request.options or request.train:
        raise FdrdError(f"{request.checkpoint} contains its options; leave out -M and -T")
    path = find_checkpoint(request.checkpoint)
    header = read_header(path)
    if header.method != request.method:
        raise FdrdError(f"{path} belongs to {header.method}; give `method` {header.method}")
    request = dataclasses.replace(request, options=header.options)
    if request.backbone is None:
        request = dataclasses.replace(request, backbone=header.backbone, allow_code=False)
    return request, path, header.train


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
        if isinstance(data, Mapping):
            raise FdrdError("splits do not name a backbone; give one")
        backbone, allow_code = default_backbone(data), False
    return cached_backbone(backbone, cache=cache, device=device, allow_code=allow_code)


def check_names(
    methods: Mapping[str, Mapping[str, Any]], backbone: str | Backbone | None, data: Data
) -> None:
    """Refuse methods of which none works on a backbone, before its weights are loaded.

    Raises:
        FdrdError: none works; the message lists the methods that do.
    """
    if backbone is None and not isinstance(data, Mapping):
        backbone = default_backbone(data)
    if not isinstance(backbone, str) or (can := capabilities(backbone)) is None:
        return
    errors = []
    for name, options in methods.items():
        given = read_options(method_options(name), options, name)
        try:
            check_backbone(name, given, can, backbone)
        except FdrdError as error:
            errors.append(error)
    if errors and len(errors) == len(methods):
        raise errors[0]
