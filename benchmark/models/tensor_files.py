"""Tensors: read from a file that may hold more, without executing any of it; written; digested.

A `.pt` file is a pickle, which is a program. PyTorch's restricted unpickler accepts tensors and plain
containers and stops at anything else.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from fdrd.errors import FdrdError, first_line

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIX = re.compile(r"^(?:module\.|_orig_mod\.)+")
_OPENAI_SIZES = {"input_resolution", "context_length", "vocab_size"}
"""Numbers among the tensors of OpenAI's files."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the `state_dict` in a safetensors or PyTorch file, without prefixes added by training.

    Raises:
        FdrdError: the file is missing, is a program, or holds no tensors.
    """
    if not path.is_file():
        raise FdrdError(f"{path}: no such file")
    try:
        safe = path.suffix == ".safetensors"
        content: Any = safetensors.torch.load_file(path) if safe else _unpickled(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise FdrdError(f"{path} cannot be read: {error}") from error
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = {
        _PREFIX.sub("", key): value
        for key, value in (content.items() if isinstance(content, Mapping) else ())
        if isinstance(key, str) and isinstance(value, Tensor) and key not in _OPENAI_SIZES
    }
    if not tensors:
        raise FdrdError(f"{path} holds a {type(content).__name__}, not a state_dict")
    return tensors


@contextmanager
def writing_tensors(out: Path) -> Iterator[None]:
    """Raise `FdrdError` if safetensors cannot write a file into the folder, e.g. on a full disk."""
    try:
        yield
    except safetensors.SafetensorError as error:
        raise FdrdError(f"{out} cannot be written: {first_line(error)}") from error


def refuse_integers(types: Mapping[str, object], model: nn.Module, name: str) -> None:
    """Refuse weights that are stored as integers: loading would take them for the weights themselves."""
    spelled = {key: str(kind).removeprefix("torch.") for key, kind in types.items()}
    wrong = sorted(
        key
        for key, _ in model.named_parameters()
        if not spelled.get(key, "F").startswith(("F", "BF", "float", "bfloat"))
    )
    if wrong:
        more = f" and {len(wrong) - 3} more" * (len(wrong) > 3)
        raise FdrdError(
            f"{name}: {', '.join(wrong[:3])}{more} are stored as {spelled[wrong[0]]}, and without their "
            f"scale such numbers are not weights; save the model in float32, bfloat16 or float16"
        )


def add_tensors(digest: Any, tensors: Mapping[str, Tensor]) -> None:
    """Add names, types, shapes and values of tensors to a digest."""
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)


def _unpickled(path: Path) -> Any:
    advice = "If you trust it, save only its tensors, with torch.save({}, 'tensors.pt')"
    try:
        if _is_torchscript(path):
            raise FdrdError(
                f"{path} is a TorchScript archive, which is a program, and was not run. OpenAI's own models "
                f"are on the Hub as tensors: `backbone` openai/clip-vit-base-patch32. "
                + advice.format(f"torch.jit.load({path.name!r}, 'cpu').state_dict()")
            )
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        content = f"more than tensors (it asks for {named[1]})" if named else "no tensors"
        raise FdrdError(
            f"{path} holds {content}; it was not loaded, and none of its code was run. "
            + advice.format("model.state_dict()")
        ) from error
    except (FdrdError, OSError):
        raise
    except Exception as error:  # the unpickler raises many types on damaged files
        reason = " ".join(str(error).split()) or "empty"
        raise FdrdError(f"{path} is not a file written by torch.save ({reason})") from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
