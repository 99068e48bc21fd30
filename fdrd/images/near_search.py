"""Find pairs of 64-bit hashes that differ in few bits, without comparing all pairs.

Hashes are divided into chunks: four of 16 bits, or three of up to 22 bits if there are many hashes. Each chunk has a
number of flips. If two hashes are within distance r, one of their chunks differs in at most that many bits, because
the flips plus one add up to r + 1. So only hashes that share a chunk, up to that many flipped bits, are compared
(multi-index hashing, Norouzi et al., arXiv 1307.2982). The result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt

from fdrd.engines import available_cores

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

FEW = 2**17  # up to this many hashes, four chunks are faster than three
LOOKED_UP = 2**15  # hashes that a thread looks up at a time: few enough for a processor's caches
BLOCK = 2**18  # pairs that a thread compares at a time, about 10 MB


def near_pairs(
    hashes: Hashes, radius: int, others: Hashes | None = None
) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of hashes within a Hamming distance, in blocks; a pair may be repeated.

    >>> blocks = near_pairs(np.array([0, 7, 2**63], np.uint64), 1)
    >>> {pair for block in blocks for pair in zip(*map(np.ndarray.tolist, block))}
    {(0, 2)}

    Args:
        hashes: (N,), with or without duplicates; equal hashes are pairs, too.
        radius: maximum distance, at most 15.
        others: (M,), if a pair is one of `hashes` and one of these; by default the pairs among `hashes`.

    Yields:
        (first, second): indices into `hashes` and `others`.
    """
    if radius >= 16:
        raise ValueError(f"the radius must be at most 15, got {radius}")
    with ThreadPoolExecutor(available_cores()) as threads:  # NumPy works outside of the lock
        count = len(hashes if others is None else others)
        for chunk in _chunks(4 if count <= FEW else 3, radius):
            yield from _near_in_chunk(hashes, others, chunk, radius, threads)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Position and width of a chunk in bits, and the masks that flip as many of them as may differ."""

    shift: int
    width: int
    masks: list[int]


def _chunks(count: int, radius: int) -> Iterator[_Chunk]:
    """Yield chunks of nearly equal width whose flips plus one add up to the radius plus one."""
    shift = 0
    for index in range(count):
        width = 64 // count + (index < 64 % count)
        most = (radius + 1) // count + (index < (radius + 1) % count) - 1
        flips = chain.from_iterable(combinations(range(width), n) for n in range(most + 1))
        yield _Chunk(shift, width, [sum(1 << bit for bit in bits) for bits in flips])
        shift += width


def _near_in_chunk(
    hashes: Hashes, others: Hashes | None, chunk: _Chunk, radius: int, threads: ThreadPoolExecutor
) -> Iterator[tuple[Indices, Indices]]:
    keys, order, sorted_hashes = side = _sorted(hashes, chunk)
    within = others is None
    other_keys, other_order, sorted_others = side if others is None else _sorted(others, chunk)
    starts = np.zeros(2**chunk.width + 1, np.int32)
    np.cumsum(np.bincount(other_keys, minlength=2**chunk.width), out=starts[1:])
    occurs = starts[1:] > starts[:-1]

    def near(start: int) -> list[tuple[Indices, Indices]]:
        block = keys[start : start + LOOKED_UP].astype(np.intp)
        found = []
        for mask in chunk.masks:
            flipped = block ^ mask
            there = occurs.take(flipped)
            if within:
                there &= flipped >= block  # each pair once
            index = np.flatnonzero(there)  # few, so the large table is read rarely
            begin, end = starts.take(flipped[index]), starts.take(flipped[index] + 1)
            index += start
            if within:
                begin = np.maximum(begin, index + 1)
            for one, other in _joined(index, begin, end):
                differing = np.bitwise_count(sorted_hashes.take(one) ^ sorted_others.take(other))
                if len(pairs := np.flatnonzero(differing <= radius)):
                    found.append((order[one[pairs]], other_order[other[pairs]]))
        return found

    for found in threads.map(near, range(0, len(hashes), LOOKED_UP)):
        yield from found


def _sorted(hashes: Hashes, chunk: _Chunk) -> tuple[npt.NDArray[np.int32], Indices, Hashes]:
    """Return the hashes in the order of a chunk: this key of each, its index, and itself."""
    keys = (hashes >> np.uint64(chunk.shift) & np.uint64(2**chunk.width - 1)).astype(np.int32)
    order = np.argsort(keys, kind="stable")
    return keys[order], order, hashes[order]


def _joined(index: Indices, begin: Indices, end: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield each of (N,) indices with all numbers from its begin to its end, in blocks."""
    counts = end - begin
    ends = np.cumsum(counts)
    done = 0
    while done < len(index):
        before = ends[done - 1] if done else 0
        upto = max(done + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        part = slice(done, upto)
        offsets = np.repeat(begin[part] - ends[part] + counts[part], counts[part])
        yield np.repeat(index[part], counts[part]), np.arange(before, ends[upto - 1]) + offsets
        done = upto
