"""Find the file of a checkpoint on this machine or on the Hub, without importing torch."""

from __future__ import annotations

import re
from pathlib import Path

from fdrd.connection import hub_or_cache
from fdrd.errors import FdrdError
from fdrd.kinds import refuse_other

WEIGHTS = "model.safetensors"
"""File name of the checkpoint in a model repository; the Hub counts and inspects this name."""

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*(@.+)?")


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
