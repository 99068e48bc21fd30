"""Checkpoints: what a method learned, as a safetensors file, and methods loaded from them.

    from benchmark import load_method

    method = load_method("ORG/fdrd-dcar-caltech101")
    method.encode_text("a black car on a brick driveway").pooled      # (1, d)

A checkpoint holds tensors and, as JSON, the `Settings` of the run that trained them; no code. It names a registered
method and the backbone it belongs to, and loading it with another backbone is an error. It is untrusted: its settings
are checked like options of the command line, and its tensors must have the digest that the header states.

Finding a checkpoint and reading its header does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import safetensors

from benchmark.registry import Method, make_method, method_options, takes
from benchmark.settings import Digest, Settings
from fdrd.connection import hub_or_cache
from fdrd.errors import FdrdError, first_line
from fdrd.files.atomic import atomic_write
from fdrd.kinds import refuse_other
from fdrd.options import read_options
from fdrd.text.markup import visible

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmark.models.backbone import Backbone

_LONGEST = 300  # characters of a library's message

WEIGHTS = "model.safetensors"
"""File name of the checkpoint in a model repository; the Hub counts and inspects this name."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@.+)?")


@dataclass(frozen=True)
class CheckpointHeader:
    """The header of a checkpoint: the run that trained it, and the digest of the learned tensors."""

    settings: Settings
    tensors: Digest


def find_checkpoint(spec: str | Path) -> Path:
    """Return the file of a checkpoint: a path, a folder with `model.safetensors`, or ORG/NAME[@REVISION].

    Raises:
        FdrdError: there is no such checkpoint, or the download failed.
    """
    path, name = Path(spec).expanduser(), str(spec)
    refuse_other(path, "a trained method", "checkpoint", "weights", "results")
    if path.is_file():
        return path
    if path.is_dir():
        if (path / WEIGHTS).is_file():
            return path / WEIGHTS
        raise FdrdError(f"{path} holds no {WEIGHTS}; give a .safetensors file of `fdrd bench`")
    if not _HUB_ID.fullmatch(name) or name.endswith(".safetensors"):
        raise FdrdError(
            f"no checkpoint {name}: give the .safetensors file that `fdrd bench` wrote next to a "
            f"result, or a model on the Hub as ORG/NAME"
        )
    return _download(name)


def _download(spec: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    name, _, revision = spec.partition("@")
    try:
        with hub_or_cache():
            return Path(hf_hub_download(name, WEIGHTS, revision=revision or None))
    except FdrdError:
        raise
    except Exception as error:  # whatever the client raises for an answer that is not the Hub's
        if isinstance(error, LocalEntryNotFoundError):
            reason = "the Hub cannot be reached"
        elif isinstance(error, EntryNotFoundError):
            reason = f"the repository has no {WEIGHTS}, so `fdrd push` did not create it"
        else:
            reason = (
                f"the Hub download failed ({first_line(error)}); check the name and the connection"
            )
        raise FdrdError(f"no checkpoint {spec}: no such file, and {reason}") from error


def read_header(path: Path) -> CheckpointHeader:
    """Return the header of a checkpoint.

    Raises:
        FdrdError: the file is not a checkpoint of this version of fdrd.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            return msgspec.json.decode(file.metadata()["fdrd"], type=CheckpointHeader)
    except (
        *(OSError, KeyError, TypeError, ValueError, RecursionError, FdrdError),
        *(safetensors.SafetensorError, msgspec.MsgspecError),
    ) as error:
        raise FdrdError(
            f"{path} is not a checkpoint of this version of fdrd ({_one_line(error)}); give the "
            f".safetensors file that `fdrd bench` wrote next to a result, or train again"
        ) from error


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint of fdrd."""
    try:
        read_header(path)
    except FdrdError:
        return False
    return True


def _one_line(error: Exception) -> str:
    """Return the message of a library on one line, at most 300 characters of it."""
    text = " ".join(visible(str(error)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def save_checkpoint(path: Path, learner: nn.Module, settings: Settings) -> None:
    """Write the learned tensors and the settings of the run that trained them."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in learner.state_dict().items()
    }
    with atomic_write(path) as file:
        file.write(checkpoint_bytes(tensors, settings))


def checkpoint_bytes(tensors: Mapping[str, Tensor], settings: Settings) -> bytes:
    """Return the content of a checkpoint, with the digest of its tensors in the header."""
    from safetensors.torch import save

    header = CheckpointHeader(settings, tensors_digest(tensors))
    text = msgspec.json.encode(header, order="deterministic").decode()
    return save(dict(tensors), {"fdrd": text})


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and values of tensors."""
    import torch

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
    from safetensors.torch import load_file

    header = read_header(path)
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # a type that torch lacks
        raise FdrdError(f"{path} cannot be read ({_one_line(error)}); get it again") from error
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
    settings = read_header(path).settings
    backbone = settings.backbone
    if backbone.fingerprint != backbone_fingerprint:
        raise FdrdError(
            f"{path} was trained on {backbone.name} with fingerprint {backbone.fingerprint[:12]}, "
            f"but this backbone has {backbone_fingerprint[:12]}; give the same `backbone`"
        )
    tensors, learned = learned_tensors(path), learner.state_dict()
    for name, value in tensors.items():
        if name in learned and value.dtype != learned[name].dtype:
            raise FdrdError(
                f"{path} does not fit {settings.method}: {name} holds {value.dtype}, "
                f"expected {learned[name].dtype}"
            )
    try:
        learner.load_state_dict(tensors)
    except RuntimeError as error:
        raise FdrdError(f"{path} does not fit {settings.method}: {_one_line(error)}") from error


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
    from benchmark.models.loading import cached_backbone

    if not isinstance(checkpoint, str | Path):
        if not checkpoint.learns:
            used = backbone or checkpoint.backbone
            opened = cached_backbone(used, cache=cache, device=device, allow_code=allow_code)
            return untrained_method(checkpoint.method, opened)
        checkpoint = checkpoint.checkpoint
    path = find_checkpoint(checkpoint)
    settings = read_header(path).settings
    name = settings.method
    options = read_options(method_options(name), settings.options, name)
    tower = None
    if takes(name, "backbone"):
        tower = cached_backbone(
            backbone or settings.backbone.name,
            cache=cache,
            device=device,
            allow_code=allow_code and backbone is not None,
        )
    training = {"train": settings.train} if settings.train else {}
    method = make_method(name, options, backbone=tower, seed=settings.seed or 0, **training)
    if method.learner is None:
        raise FdrdError(f"{path} belongs to {name}, which learns nothing; give `method` {name}")
    load_checkpoint(path, method.learner, (tower or settings.backbone).fingerprint)
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
