"""An encoder from the user's own function: `package.module:function` or `path/to/file.py:function`.

The function takes no arguments. It returns (model, tokenizer, image_processor) of `transformers`, or any object
with the attributes of `Encoder`, e.g. a `PlainEncoder`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Unpack, cast

from benchmark.models.backbone import Encoder, EncoderSetup
from benchmark.models.encoders.pretrained import encoder
from fdrd.errors import FdrdError
from fdrd.imports import import_file

_ATTRIBUTES = ("fingerprint", "dim", "encode_image", "encode_text")


def load(target: str, **setup: Unpack[EncoderSetup]) -> Encoder:
    """Return the encoder of a function; one that it made itself has no options.

    Raises:
        FdrdError: the function is missing or returns something else.
    """
    name = setup["name"]
    location, _, function = target.rpartition(":")
    try:
        module = import_file(location) if location.endswith(".py") else import_module(location)
    except (ImportError, OSError) as error:
        raise FdrdError(f"backbone {name!r}: {location} cannot be imported ({error})") from error
    make = getattr(module, function, None)
    if not callable(make):
        raise FdrdError(f"backbone {name!r}: {location} has no function {function!r}")
    result = make()
    if isinstance(result, tuple) and len(result) == 3 and hasattr(result[0], "get_text_features"):
        return encoder(*result, **setup)
    if all(hasattr(result, attribute) for attribute in _ATTRIBUTES):
        setup["options"].only(name)
        result.name, result.frozen = name, setup.get("frozen")
        return cast("Encoder", result)
    kind = type(result).__name__
    if isinstance(result, tuple):
        kind = f"({', '.join(type(each).__name__ for each in result)})"
    raise FdrdError(
        f"backbone {name!r}: {function} must return (model, tokenizer, image_processor) or an encoder, "
        f"not {kind}"
    )
