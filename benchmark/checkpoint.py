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
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
import safetensors
import safetensors.torch
import torch
from msgspec import Meta
from torch import Tensor, nn

from benchmark.checkpoint_files import find_checkpoint
from benchmark.models.backbone import Backbone
from benchmark.models.loading import DEFAULT_BACKBONE, cached_backbone
from benchmark.registry import Method, make_method, method_options, takes
from benchmark.settings import Digest, Seed, Settings, TrainConfig
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.options import read_options
from fdrd.text.controls import visible

_LONGEST = 300  # characters of a library's message


Text = Annotated[str, Meta(max_length=1000)]


@dataclass(frozen=True)
class CheckpointHeader:
    """Metadata of a checkpoint."""

    method: Text
    options: dict[str, Text | bool | int | float]
    backbone: Text
    backbone_fingerprint: Digest
    train_fingerprint: Digest
    """of the training rows"""
    train: TrainConfig | None
    """None if it was not trained by gradient steps"""
    seed: Seed | None
    tensors: Digest | None = None
    """digest of the learned tensors, filled in by `save_checkpoint`"""

    @classmethod
    def of(cls, settings: Settings) -> CheckpointHeader:
        """Return the header for the checkpoint of a training run."""
        return cls(
            method=settings.method,
            options=settings.options,
            backbone=settings.backbone.name,
            backbone_fingerprint=settings.backbone.fingerprint,
            train_fingerprint=settings.learned_from["train"],
            train=settings.train,
            seed=settings.seed,
        )


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


def read_header(path: Path) -> CheckpointHeader:
    """Return the header of a checkpoint.

    Raises:
        FdrdError: the file is not a checkpoint of fdrd.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            return msgspec.json.decode(file.metadata()["fdrd"], type=CheckpointHeader)
    except (
        *(OSError, KeyError, TypeError, ValueError, RecursionError, FdrdError),
        *(safetensors.SafetensorError, msgspec.MsgspecError),
    ) as error:
        raise FdrdError(
            f"{path} is not a checkpoint of fdrd ({_one_line(error)}); give the .safetensors file "
            f"that `fdrd bench` wrote next to a result"
        ) from error


def _one_line(error: Exception) -> str:
    text = " ".join(visible(str(error)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def learned_tensors(path: Path) -> dict[str, Tensor]:
    """Return the learned tensors of a checkpoint.

    Raises:
        FdrdError: the file is not a checkpoint, or its tensors are not those that its header states.
    """
    header = read_header(path)
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # a type that torch lacks
        raise FdrdError(f"{path} cannot be read ({_one_line(error)}); get it again") from error
    if tensors_digest(tensors) != header.tensors:
        raise FdrdError(
            f"{path}: its tensors are not those that were trained (their digest differs from the "
            f"header's); delete it to train again, or get it again"
        )
    return tensors


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint of fdrd."""
    try:
        read_header(path)
    except FdrdError:
        return False
    return True


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
        raise FdrdError(f"{path} does not fit {header.method}: {_one_line(error)}") from error


class TrainedMethod(Protocol):
    """A method that was run, e.g. `results["coop"]` of `benchmark.evaluate`."""

    @property
    def method(self) -> str:
        """Registered name."""

    @property
    def backbone(self) -> str:
        """Name of the backbone."""

    @property
    def learns(self) -> bool:
        """Whether it has a checkpoint."""

    @property
    def checkpoint(self) -> Path:
        """File of what it learned."""


def load_method(
    checkpoint: str | Path | TrainedMethod,
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
    given = {"train": header.train} if header.train else {}
    method = make_method(name, options, backbone=tower, seed=header.seed or 0, **given)
    if method.learner is None:
        raise FdrdError(f"{path} belongs to {name}, which learns nothing; give `method` {name}")
    load_checkpoint(
        path, method.learner, tower.fingerprint if tower else header.backbone_fingerprint
    )
    return method


def ready_method(
    name: str,
    checkpoint: str | Path | None,
    backbone: str | None,
    *,
    device: str | None = None,
    allow_code: bool = False,
) -> Method:
    """Return the method of a checkpoint, or else one that needs no training.

    Args:
        name: of the method without a checkpoint.
        checkpoint: see `find_checkpoint`.
        backbone: by default the one that the checkpoint names, or CLIP ViT-B/32.
        device: `cpu` or `cuda`.
        allow_code: the user typed `backbone`, so it may name a function.
    """
    if checkpoint is not None:
        return load_method(checkpoint, backbone=backbone, device=device, allow_code=allow_code)
    tower = cached_backbone(backbone or DEFAULT_BACKBONE, device=device, allow_code=allow_code)
    return untrained_method(name, tower)


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
