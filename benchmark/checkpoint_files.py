"""Find the file of a checkpoint on this machine or on the Hub, and read its header, without importing torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import safetensors
from msgspec import Meta

from benchmark.settings import Digest, Seed, Settings, TrainConfig
from fdrd.connection import hub_or_cache
from fdrd.errors import FdrdError
from fdrd.kinds import refuse_other
from fdrd.text.controls import visible

Text = Annotated[str, Meta(max_length=1000)]
_LONGEST = 300  # characters of a library's message

WEIGHTS = "model.safetensors"
"""File name of the checkpoint in a model repository; the Hub counts and inspects this name."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@.+)?")


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
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            reason = f"the Hub download failed ({first}); check the name and the connection"
        raise FdrdError(f"no checkpoint {spec}: no such file, and {reason}") from error


def read_header(path: Path) -> CheckpointHeader:
    """Return the header of a checkpoint.

    Raises:
        FdrdError: the file is not a checkpoint of fdrd.
    """
    try:
        with safetensors.safe_open(path, "np") as file:
            return msgspec.json.decode(file.metadata()["fdrd"], type=CheckpointHeader)
    except (
        *(OSError, KeyError, TypeError, ValueError, RecursionError, FdrdError),
        *(safetensors.SafetensorError, msgspec.MsgspecError),
    ) as error:
        raise FdrdError(
            f"{path} is not a checkpoint of fdrd ({one_line(error)}); give the .safetensors file "
            f"that `fdrd bench` wrote next to a result"
        ) from error


def one_line(error: Exception) -> str:
    """Return the message of a library on one line, at most 300 characters of it."""
    text = " ".join(visible(str(error)).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is a checkpoint of fdrd."""
    try:
        read_header(path)
    except FdrdError:
        return False
    return True
