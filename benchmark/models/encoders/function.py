"""An encoder from the user's own function: `package.module:function` or `path/to/file.py:function`.

The function takes no arguments. It returns (model, tokenizer, image_processor) of `transformers`, or any object
with the attributes of `Encoder`, e.g. a `PlainEncoder`.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import torch

from benchmark.models.backbone import Encoder
from benchmark.models.encoder_options import EncoderOptions
from benchmark.models.encoders.pretrained import encoder
from benchmark.models.frozen_features import FrozenFeatures
from fdrd.errors import FdrdError

_ATTRIBUTES = ("fingerprint", "dim", "encode_image", "encode_text")


def load(
    target: str,
    *,
    name: str,
    device: torch.device,
    frozen: FrozenFeatures | None,
    options: EncoderOptions,
) -> Encoder:
    """Return the encoder of a function; one that it made itself has no options.

    Raises:
        FdrdError: the function is missing or returns something else.
    """
    place, _, function = target.rpartition(":")
    try:
        module = _file_module(Path(place)) if place.endswith(".py") else _module(place)
    except (ImportError, OSError) as error:
        raise FdrdError(f"backbone {name!r}: {place} cannot be imported ({error})") from error
    make = getattr(module, function, None)
    if not callable(make):
        raise FdrdError(f"backbone {name!r}: {place} has no function {function!r}")
    made = make()
    if isinstance(made, tuple) and len(made) == 3 and hasattr(made[0], "get_text_features"):
        return encoder(*made, name=name, device=device, frozen=frozen, options=options)
    if all(hasattr(made, attribute) for attribute in _ATTRIBUTES):
        options.only(name)
        made.name, made.frozen = name, frozen
        found: Encoder = made
        return found
    raise FdrdError(
        f"backbone {name!r}: {function} must return (model, tokenizer, image_processor) or an encoder, "
        f"not {_described(made)}"
    )


def _module(place: str) -> Any:
    return importlib.import_module(place)


def _file_module(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _described(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(type(each).__name__ for each in value)})"
    return type(value).__name__
