"""Checkpoints: what a method learned, as a safetensors file, and methods loaded from them.

    from benchmark import load_method

    method = load_method("ORG/fdrd-dcar-caltech101")
    method.encode_text("a black car on a brick driveway").pooled      # (1, d)

A checkpoint holds tensors and JSON, no code. It names a registered method and the backbone it belongs to,
and loading it with another backbone is an error. It is untrusted: its header is checked like options of the command
line, and its tensors must have the digest that the header states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from benchmark.checkpoint_files import CheckpointHeader, find_checkpoint, one_line, read_header
from benchmark.models.backbone import Backbone
from benchmark.models.loading import cached_backbone
from benchmark.registry import Method, make_method, method_options, takes
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.options import read_options


def save_checkpoint(path: Path, learner: nn.Module, header: CheckpointHeader) -> None:
    """Write the learned tensors and the header."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in learner.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(checkpoint_bytes(tensors, header))


def checkpoint_bytes(tensors: Mapping[str, Tensor], header: CheckpointHeader) -> bytes:
    """Return the content of a checkpoint, with the digest of its tensors in the header."""
    header = replace(header, tensors=tensors_digest(tensors))
    metadata = {"fdrd": json.dumps(asdict(header), sort_keys=True)}
    return safetensors.torch.save(dict(tensors), metadata)


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values of tensors."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        values = value.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def learned_tensors(path: Path) -> dict[str, Tensor]:
    """Return the learned tensors of a checkpoint.

    Raises:
        FdrdError: the file is not a checkpoint, or its tensors are not those that its header states.
    """
    header = read_header(path)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # a type that torch lacks
        raise FdrdError(f"{path} cannot be read ({one_line(error)}); get it again") from error
    if tensors_digest(tensors) != header.tensors:
        raise FdrdError(
            f"{path}: its tensors are not those that were trained (their digest differs from the "
            f"header's); delete it to train again, or get it again"
        )
    return tensors


def load_checkpoint(path: Path, learner: nn.Module, backbone_fingerprint: str) -> None:
    """Load the learned tensors into a learner.

    Raises:
        FdrdError: the checkpoint belongs to another backbone, or has other tensors.
    """
    header = read_header(path)
    if header.backbone_fingerprint != backbone_fingerprint:
        raise FdrdError(
            f"{path} was trained on {header.backbone} with fingerprint "
            f"{header.backbone_fingerprint[:12]}, but this backbone has "
            f"{backbone_fingerprint[:12]}; give the same `backbone`"
        )
    tensors, learned = learned_tensors(path), learner.state_dict()
    for name, value in tensors.items():
        if name in learned and value.dtype != learned[name].dtype:
            raise FdrdError(
                f"{path} does not fit {header.method}: {name} holds {value.dtype}, "
                f"expected {learned[name].dtype}"
            )
    try:
        learner.load_state_dict(tensors)
    except RuntimeError as error:
        raise FdrdError(f"{path} does not fit {header.method}: {one_line(error)}") from error


class _MethodResults(Protocol):
    """Results of a method, e.g. `results["coop"]` of `benchmark.evaluate`."""

    @property
    def method(self) -> str: ...
    @property
    def backbone(self) -> str: ...
    @property
    def learns(self) -> bool: ...
    @property
    def checkpoint(self) -> Path: ...


def load_method(
    checkpoint: str | Path | _MethodResults,
    *,
    backbone: str | Backbone | None = None,
    device: str | None = None,
    cache: Path | None = None,
    allow_code: bool = False,
) -> Method:
    """Return a trained method, ready to encode and score.

    Args:
        checkpoint: a file, a folder or a Hub model, see `find_checkpoint`; or `results[name]` of `evaluate`.
        backbone: a name for `load_backbone`, or a backbone; by default the one that the checkpoint names.
        device: `cpu` or `cuda`.
        cache: folder of frozen features, else `default_cache()`.
        allow_code: the user typed `backbone`, so it may name a function.

    Raises:
        FdrdError: there is no such checkpoint, its method is not registered (import its package first),
            or it belongs to another backbone.
    """
    if not isinstance(checkpoint, str | Path):
        if not checkpoint.learns:
            used = backbone or checkpoint.backbone
            opened = cached_backbone(used, cache=cache, device=device, allow_code=allow_code)
            return untrained_method(checkpoint.method, opened)
        checkpoint = checkpoint.checkpoint
    path = find_checkpoint(checkpoint)
    header = read_header(path)
    name = header.method
    options = read_options(method_options(name), header.options, name)
    tower = None
    if takes(name, "backbone"):
        tower = cached_backbone(
            backbone or header.backbone,
            cache=cache,
            device=device,
            allow_code=allow_code and backbone is not None,
        )
    training = {"train": header.train} if header.train else {}
    method = make_method(name, options, backbone=tower, seed=header.seed or 0, **training)
    if method.learner is None:
        raise FdrdError(f"{path} belongs to {name}, which learns nothing; give `method` {name}")
    load_checkpoint(
        path, method.learner, tower.fingerprint if tower else header.backbone_fingerprint
    )
    return method


def untrained_method(name: str, backbone: Backbone | None) -> Method:
    """Return a method that needs no training, ready to encode and score.

    Raises:
        FdrdError: there is no such method, or it needs training.
    """
    method = make_method(name, {}, backbone=backbone, seed=0)
    if method.trains != "nothing":
        raise FdrdError(
            f"{name} needs training: run `fdrd bench --method {name}`, then give `checkpoint` with "
            f"the .safetensors file next to the result"
        )
    return method
