"""Copy a model with its own weights, even if it holds objects that cannot be copied."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

_CONTAINERS = (list, tuple, set, frozenset)
_OWN = frozenset(vars(nn.Module()))  # parameters, buffers, submodules, hooks: always copied


def with_own_weights(model: Model) -> Model:
    """Return a deep copy that shares with `model` only large or uncopyable objects without weights.

    Shared are plain data of a module, e.g. a cache of arrays, and objects that refuse to be copied, e.g. a
    session of another runtime. Tensors and modules are never shared.

    Raises:
        TypeError: an object that holds tensors or modules refuses to be copied.

    >>> import threading
    >>> layer = nn.Linear(1, 1)
    >>> layer.lock, layer.seen = threading.Lock(), {"a": 1}
    >>> copied = with_own_weights(layer)
    >>> copied.weight is layer.weight, copied.lock is layer.lock, copied.seen is layer.seen
    (False, True, True)
    """
    shared: dict[int, Any] = {}
    tried: set[int] = set()
    for module in model.modules():
        for name, value in vars(module).items():
            if name in _OWN or id(value) in tried:
                continue
            tried.add(id(value))
            if _is_plain(value) or not (_holds_weights(value) or _can_be_copied(value)):
                shared[id(value)] = value
    return copy.deepcopy(model, shared)


def _is_plain(value: Any) -> bool:
    """Return whether it consists of numbers, text, arrays, and containers of these."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.keys())) and all(map(_is_plain, value.values()))
    if isinstance(value, _CONTAINERS):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.ndarray))


def _holds_weights(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_weights, value.values()))
    if isinstance(value, _CONTAINERS):
        return any(map(_holds_weights, value))
    return isinstance(value, (Tensor, nn.Module))


def _can_be_copied(value: Any) -> bool:
    try:
        copy.deepcopy(value)
    except Exception:  # third-party objects may raise anything
        return False
    return True
