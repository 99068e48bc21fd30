"""Find pairs of 64-bit hashes that differ in few bits, without comparing all pairs.

Hashes are divided into chunks: four of 16 bits, or three of up to 22 bits if there are many hashes. If two
hashes are within distance r, one of their n chunks differs in at most r // n bits. So only hashes that share
a chunk, up to that many flipped bits, are compared (multi-index hashing, Norouzi et al., arXiv 1307.2982).
The result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, groupby

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

FEW = 2**17  # up to this many hashes, four chunks are faster than three
BLOCK = 2**22  # pairs compared at a time, about 100 MB


def pairs_within(hashes: Hashes, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield all pairs of hashes within a Hamming distance, in blocks; a pair may be repeated.

    >>> blocks = pairs_within(np.array([0, 7, 2**63], np.uint64), 1)
    >>> {pair for block in blocks for pair in zip(*map(np.ndarray.tolist, block))}
    {(0, 2)}

    Args:
        hashes: (N,), with or without duplicates; equal hashes are pairs, too.
        radius: maximum distance, at most 15.

    Yields:
        (first, second): indices into `hashes`.
    """
    chunks, width = (4, 16) if len(hashes) <= FEW else (3, 22)
    if radius >= 16:
        raise ValueError(f"the radius must be at most 15, got {radius}")
    masks = [
        sum(1 << bit for bit in bits)
        for flips in range(radius // chunks + 1)
        for bits in combinations(range(width), flips)
    ]
    for chunk in range(chunks):
        keys = (hashes >> np.uint64(width * chunk) & np.uint64(2**width - 1)).astype(np.int32)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        times = np.bincount(keys, minlength=2**width)
        starts, occurs = np.zeros(2**width + 1, np.int32), times > 0
        np.cumsum(times, out=starts[1:])
        sorted_hashes = hashes[order]
        for bits, group in groupby(sorted(masks), int.bit_length):
            lower = np.flatnonzero(keys & (1 << bits >> 1) == 0)  # of two keys, the lower one
            low = keys[lower]
            for mask in group:
                some = np.flatnonzero(occurs[low ^ mask])  # few, so the large table is read rarely
                for first, second in _joined(lower[some], low[some] ^ mask, starts):
                    near = np.bitwise_count(sorted_hashes[first] ^ sorted_hashes[second]) <= radius
                    if near.any():
                        yield order[first[near]], order[second[near]]


def _joined(places: Indices, others: Indices, starts: Indices) -> Iterator[tuple[Indices, Indices]]:
    """Yield each place with the later places of the other key, which `starts` has."""
    begin, end = np.maximum(starts[others], places + 1), starts[others + 1]
    counts = end - begin
    ends = np.cumsum(counts)
    done = 0
    while done < len(places):
        before = ends[done - 1] if done else 0
        upto = max(done + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        part = counts[done:upto]
        within = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        yield np.repeat(places[done:upto], part), np.repeat(begin[done:upto], part) + within
        done = upto
