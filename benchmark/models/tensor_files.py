"""Tensors out of a file that may hold more: nothing of it is executed.

A `.pt` file is a pickle, that is a program. PyTorch's restricted reader takes tensors and plain
containers out of it, and stops at anything else.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fdrd.errors import FdrdError

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("module.", "_orig_mod.")
_NOTES = {"input_resolution", "context_length", "vocab_size"}
"""Numbers that OpenAI's files keep among the tensors."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The `state_dict` in a safetensors or PyTorch file, without the names that training wraps it in.

    Raises:
        FdrdError: the file is missing, a program, or holds no tensors.
    """
    if not path.is_file():
        raise FdrdError(f"{path}: no such file")
    try:
        held = _safe(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise FdrdError(f"{path} cannot be read: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
    tensors = {
        _stripped(key): value
        for key, value in (held.items() if isinstance(held, Mapping) else ())
        if isinstance(key, str) and isinstance(value, Tensor) and key not in _NOTES
    }
    if not tensors:
        raise FdrdError(f"{path} holds no state_dict, but a {type(held).__name__}")
    return tensors


def _safe(path: Path) -> Any:
    return safetensors.torch.load_file(path)


def _unpickled(path: Path) -> Any:
    if _is_program(path):
        raise FdrdError(
            f"{path} is a TorchScript archive, that is a program, and is not run. OpenAI's own "
            f"models are on the Hub as tensors: --backbone openai/clip-vit-base-patch32. For "
            f"another one that you trust, write its tensors elsewhere, with "
            f"torch.save(torch.jit.load({path.name!r}, 'cpu').state_dict(), 'tensors.pt'), and "
            f"convert those"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise FdrdError(
            f"{path} holds {f'more than tensors (it asks for {named[1]})' if named else 'no tensors'}; "
            f"it was not loaded, and nothing of it was run. If you trust whoever made it, write its "
            f"tensors alone elsewhere, with torch.save(model.state_dict(), 'tensors.pt'), and "
            f"convert those"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise FdrdError(
            f"{path} is no file that torch.save wrote ({' '.join(str(error).split()) or 'empty'})"
        ) from error


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _stripped(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.partition(".")[2]
    return key
