"""Several processes on one run, started by `torchrun` or `accelerate launch`.

All processes run the same program on the same batches and share only the work of the towers. Each encodes some
rows of every call, and `shared` gives every process the features of all rows. A loss therefore sees the whole
batch, and a method does not need to know the number of processes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pad

from fdrd.errors import FdrdError, first_line

if TYPE_CHECKING:
    from benchmark.models.backbone import Features


@cache
def _state() -> Any:
    """Return accelerate's state of the processes; None if there is one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "RANK" not in os.environ:
        return None
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise FdrdError(
            "several processes need accelerate; pip install 'fdrd[accelerate]'"
        ) from error
    return PartialState(cpu=not torch.cuda.is_available())


def is_main() -> bool:
    """Return whether this is the process that writes and prints."""
    return _state() is None or bool(_state().is_main_process)


def is_first_of_host() -> bool:
    """Return whether this process writes the caches of its machine."""
    return _state() is None or bool(_state().is_local_main_process)


def chosen_device(name: str | None) -> torch.device:
    """Return the named device, by default the GPU of this process if there is one, otherwise the CPU.

    Raises:
        FdrdError: there is no such device on this machine.
    """
    if name is None and _state() is not None:
        return torch.device(_state().device)
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).cpu()  # fails for `meta`, too, which has no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise FdrdError(
            f"`device` {name}: not available here ({first_line(error)[:100]}); leave it out, or give cpu"
        ) from None
    return device


def shared(count: int, encode: Callable[[slice], Features]) -> Features:
    """Return features of `count` rows, of which each process encodes its share."""
    if _state() is None or count < _state().num_processes:
        return encode(slice(0, count))
    rank, size = _state().process_index, _state().num_processes
    bounds = [count * index // size for index in range(size + 1)]
    part = encode(slice(bounds[rank], bounds[rank + 1]))
    tokens = None if part.tokens is None else _gathered(part.tokens, bounds)
    layers = None if part.layers is None else _gathered(part.layers, bounds)
    return replace(part, pooled=_gathered(part.pooled, bounds), tokens=tokens, layers=layers)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the gradient of the whole batch."""
    if _state() is None:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= _state().num_processes


def agreed(value: float) -> float:
    """Return the main process's value, so that all processes take the same path."""
    if _state() is None:
        return value
    tensor = torch.tensor([value], dtype=torch.float64, device=_state().device)
    dist.broadcast(tensor, 0)
    return float(tensor)


def all_agree(value: object) -> bool:
    """Return whether all processes passed values that look the same."""
    if _state() is None:
        return True
    digest = int.from_bytes(hashlib.sha256(repr(value).encode()).digest()[:7])
    least, most = torch.tensor([[digest]] * 2, device=_state().device)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return bool(least == most)


def _gathered(part: Tensor, bounds: list[int]) -> Tensor:
    """Return the rows of all processes in order.

    Backward gives each process the *sum* over the processes of the gradient of its own rows. A loss that all of
    them compute is counted once per process, which `average_gradients` corrects. The same holds for terms
    computed directly from parameters.
    """
    from torch.distributed.nn.functional import all_gather  # some builds of torch lack it

    sizes = [after - before for before, after in pairwise(bounds)]
    missing = max(sizes) - len(part)  # all processes must send the same number of rows
    padded = pad(part, [0, 0] * (part.dim() - 1) + [0, missing])
    parts: tuple[Tensor, ...] = all_gather(padded)  # type: ignore[no-untyped-call]
    return torch.cat([gathered[:size] for gathered, size in zip(parts, sizes, strict=True)])
