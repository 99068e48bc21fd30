"""Checkpoints: the learned tensors alone, with all that is needed to refuse a wrong backbone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write


@dataclass(frozen=True)
class CheckpointHeader:
    """What a checkpoint says about itself."""

    method: str
    options: dict[str, Any]
    backbone: str
    backbone_fingerprint: str
    train_fingerprint: str
    """of the rows it learned from"""
    train: dict[str, Any]
    seed: int | None


def save_checkpoint(path: Path, learner: nn.Module, header: CheckpointHeader) -> None:
    """Write what was learned."""
    tensors = {
        name: value.detach().cpu().contiguous() for name, value in learner.state_dict().items()
    }
    metadata = {"fdrd": json.dumps(asdict(header), sort_keys=True)}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(tensors, metadata))


def read_header(path: Path) -> CheckpointHeader:
    """What a checkpoint says about itself.

    Raises:
        FdrdError: it is no checkpoint of this project.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = CheckpointHeader(**json.loads(file.metadata()["fdrd"]))
        _check_types(header)  # it may come from anybody
        return header
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise FdrdError(
            f"{path} is no checkpoint of fdrd ({error}); give the .safetensors file that "
            f"`fdrd bench` wrote beside a result"
        ) from error


def _check_types(header: CheckpointHeader) -> None:
    texts = ("method", "backbone", "backbone_fingerprint", "train_fingerprint")
    kinds = {**dict.fromkeys(texts, str), "options": dict, "train": dict, "seed": int | None}
    for name, kind in kinds.items():
        if not isinstance(getattr(header, name), kind):
            raise TypeError(f"its {name} is {getattr(header, name)!r}")


def load_checkpoint(path: Path, learner: nn.Module, backbone_fingerprint: str) -> None:
    """Put the learned tensors back.

    Raises:
        FdrdError: it was learned on another backbone, or has other tensors.
    """
    header = read_header(path)
    if header.backbone_fingerprint != backbone_fingerprint:
        raise FdrdError(
            f"{path} was learned on {header.backbone} with the fingerprint "
            f"{header.backbone_fingerprint[:12]}, but this backbone's is "
            f"{backbone_fingerprint[:12]}; give the same --backbone"
        )
    try:
        learner.load_state_dict(safetensors.torch.load_file(path))
    except RuntimeError as error:
        raise FdrdError(f"{path} does not fit {header.method}: {error}") from error


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
