"""How towers run: on which device, in several processes, in which precision, and in which chunks of a batch.

Several processes are started by `torchrun` or `accelerate launch`. All run the same program on the same batches and
share only the work of the towers. Each encodes some rows of every call, and `shared` gives every process the features
of all rows. A loss therefore sees the whole batch, and a method does not need to know the number of processes.

In a training step, towers may run in a lower precision, and encode a batch in chunks. One loss uses the features of the
whole batch. Its gradient with respect to them is then propagated through one chunk after another, each encoded again
(GradCache, arXiv 2101.06983). Memory is that of a chunk, the gradient that of the whole batch. Gradient accumulation is
not offered: a contrastive loss compares all pairs of a batch, so summed gradients of smaller batches belong to another
loss. Similarities and losses always use float32. The loop sets both for the step, like `torch.autocast` and
`torch.no_grad`, so that a method does not hand them on: its `encode_image` and `encode_text` serve training and
measurement alike.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import pairwise
from typing import Any, Protocol, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from benchmark.models.encoder_options import Precision
from fdrd.errors import FdrdError, first_line


class Rows(Protocol):
    """Tensors with a row for each item, such as `Features`."""

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return them with each tensor changed."""


Part = TypeVar("Part", bound=Rows)


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


def shared(count: int, encode: Callable[[slice], Part]) -> Part:
    """Return features of `count` rows, of which each process encodes its share.

    Backward gives each process the *sum* over the processes of the gradient of its own rows. A loss that all of
    them compute is counted once per process, which `average_gradients` corrects. The same holds for terms
    computed directly from parameters.
    """
    if _state() is None or count < _state().num_processes:
        return encode(slice(0, count))
    from torch.distributed.nn.functional import all_gather  # some builds of torch lack it

    rank, size = _state().process_index, _state().num_processes
    bounds = [count * index // size for index in range(size + 1)]
    sizes = [after - before for before, after in pairwise(bounds)]

    def gathered(part: Tensor) -> Tensor:
        missing = max(sizes) - len(part)  # all processes must send the same number of rows
        padded = pad(part, [0, 0] * (part.dim() - 1) + [0, missing])
        parts: tuple[Tensor, ...] = all_gather(padded)  # type: ignore[no-untyped-call]
        return torch.cat([rows[:size] for rows, size in zip(parts, sizes, strict=True)])

    return encode(slice(bounds[rank], bounds[rank + 1])).map(gathered)


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


_STEP: ContextVar[tuple[Precision, int]] = ContextVar("_STEP", default=("float32", 0))


@contextmanager
def step_numerics(precision: Precision = "float32", chunk_size: int = 0) -> Iterator[None]:
    """Make towers multiply in this precision, and encode in chunks where they take gradients.

    Args:
        precision: precision of the matrix products; features stay float32.
        chunk_size: rows that are encoded at a time; 0 is all at once.
    """
    token = _STEP.set((precision, chunk_size))
    try:
        yield
    finally:
        _STEP.reset(token)


def tower_autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a tower runs; made within the step, it may be entered after it."""
    lower = "bfloat16" in (precision, _STEP.get()[0])
    return torch.autocast(device.type, torch.bfloat16, enabled=lower)


def in_chunks(
    count: int, encode: Callable[[slice], Part], join: Callable[[Sequence[Part]], Part]
) -> Part:
    """Return features of `count` rows, encoded in chunks of the size that the step sets."""
    size = _STEP.get()[1]
    if not torch.is_grad_enabled() or not 0 < size < count:
        return encode(slice(0, count))
    parts = (slice(start, min(start + size, count)) for start in range(0, count, size))
    return join([checkpoint(encode, part, use_reentrant=False) for part in parts])
