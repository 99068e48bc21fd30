"""Several processes on one run, started by `torchrun` or `accelerate launch`.

All of them run the same program on the same batches, and share the towers' work alone: each encodes
some rows of every call, and `shared` gives everyone the features of all. A loss therefore sees the
whole batch, whatever it makes of it, and no method knows how many processes there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from benchmark.models.backbone import Features
from fdrd.errors import FdrdError


@cache
def _state() -> Any:
    """What accelerate knows about the processes; None where there is one."""
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
    """Whether this is the process that writes and prints."""
    return _state() is None or bool(_state().is_main_process)


def default_device() -> torch.device:
    """The accelerator of this process where there is one, else the CPU."""
    if _state() is not None:
        return torch.device(_state().device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def shared(count: int, encode: Callable[[slice], Features]) -> Features:
    """Features of `count` rows, of which each process encodes its share.

    Args:
        count: rows.
        encode: pooled and, if asked for, token features of the same length for every row.
    """
    if _state() is None or count < _state().num_processes:
        return encode(slice(0, count))
    rank, size = _state().process_index, _state().num_processes
    bounds = [count * number // size for number in range(size + 1)]
    part = encode(slice(bounds[rank], bounds[rank + 1]))
    tokens = None if part.tokens is None else _gathered(part.tokens, bounds)
    return Features(_gathered(part.pooled, bounds), tokens)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give every process the gradient of the whole batch."""
    if _state() is None:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= _state().num_processes


def agreed(value: float) -> float:
    """What the main process says, so that all of them go on in the same way."""
    if _state() is None:
        return value
    said = torch.tensor([value], dtype=torch.float64, device=_state().device)
    dist.broadcast(said, 0)
    return float(said)


def _gathered(part: Tensor, bounds: list[int]) -> Tensor:
    rows: Tensor = _Gather.apply(part, bounds)  # type: ignore[no-untyped-call]
    return rows


class _Gather(torch.autograd.Function):
    """Rows of all processes in order.

    Backward gives the *sum* over the processes of the gradient of one's own rows. A loss that all
    of them compute is thus counted once for each, which `average_gradients` puts right; so it does
    for what a loss computes from parameters directly, which each of them counts once.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, bounds: list[int]) -> Tensor:
        rank = dist.get_rank()
        ctx.rows = slice(bounds[rank], bounds[rank + 1])
        sizes = [after - before for before, after in pairwise(bounds)]
        padded = part.new_zeros(max(sizes), *part.shape[1:])
        padded[: len(part)] = part
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([each[:size] for each, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        whole = gradients[0].contiguous().clone()
        dist.all_reduce(whole)
        return whole[ctx.rows], None
