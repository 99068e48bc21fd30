"""A copy of a model whose weights are its own, also where it holds what cannot be copied."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

_CONTAINERS = (list, tuple, set, frozenset)
_OWN = frozenset(vars(nn.Module()))  # parameters, buffers, submodules, hooks: always copied


def with_own_weights(model: Model) -> Model:
    """A deep copy that shares with `model` what holds no weights and is large or cannot be copied.

    Shared are plain data that a module keeps for itself, such as a cache of arrays, and objects that
    refuse to be copied, such as a session of another runtime. Tensors and modules are never shared.

    Raises:
        TypeError: something that holds tensors or modules refuses to be copied.

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
    """Whether it is data through and through: numbers, text, arrays, and containers of such."""
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
    except Exception:  # whatever a stranger's object raises: it does not want to be copied
        return False
    return True
