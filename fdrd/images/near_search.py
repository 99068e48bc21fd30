"""Pairs of 64-bit codes that differ in few bits, found without comparing all pairs.

Codes are cut into chunks, four of 16 bits or, where there are many codes, three of up to 22. Two codes
within a distance of r agree in one of n chunks up to r // n bits, so only codes whose chunk is the same, or
would be after so many flips, are compared (multi-index hashing, Norouzi et al., arXiv 1307.2982). The
answer is exact, and a matter of integers alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

FEW = 2**17  # codes: up to so many, four chunks are faster than three
BLOCK = 2**22  # pairs compared at a time: about 100 MB


def pairs_within(codes: Codes, radius: int) -> Iterator[tuple[Indices, Indices]]:
    """All pairs of codes within a Hamming distance, in blocks; a pair may come more than once.

    >>> blocks = pairs_within(np.array([0, 7, 2**63], np.uint64), 1)
    >>> {pair for block in blocks for pair in zip(*map(np.ndarray.tolist, block))}
    {(0, 2)}

    Args:
        codes: (N,) distinct or not; equal ones are pairs, too.
        radius: greatest distance, at most 15.

    Yields:
        (first, second): numbers of codes.
    """
    chunks, width = (4, 16) if len(codes) <= FEW else (3, 22)
    if radius >= 16:
        raise ValueError(
            f"a radius of {radius} would compare most pairs; it is made for 15 or less"
        )
    masks = [
        sum(1 << bit for bit in bits)
        for flips in range(radius // chunks + 1)
        for bits in combinations(range(width), flips)
    ]
    for chunk in range(chunks):
        keys = (codes >> np.uint64(width * chunk) & np.uint64(2**width - 1)).astype(np.int64)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        starts = np.searchsorted(keys, np.arange(2**width + 1))
        sorted_codes = codes[order]
        for mask in masks:
            for first, second in _joined(keys, starts, mask):
                near = np.bitwise_count(sorted_codes[first] ^ sorted_codes[second]) <= radius
                if near.any():
                    yield order[first[near]], order[second[near]]


def _joined(keys: Indices, starts: Indices, mask: int) -> Iterator[tuple[Indices, Indices]]:
    """Places of all pairs whose keys differ in exactly the bits of the mask, each pair once."""
    if mask:  # of two keys the one without the mask's highest bit comes first
        places = np.flatnonzero(keys & (1 << mask.bit_length() - 1) == 0)
        begin, end = starts[keys[places] ^ mask], starts[(keys[places] ^ mask) + 1]
    else:
        places = np.arange(len(keys))
        begin, end = places + 1, starts[keys + 1]
    some = end > begin
    places, begin, counts = places[some], begin[some], (end - begin)[some]
    ends = np.cumsum(counts)
    done = 0
    while done < len(places):
        before = ends[done - 1] if done else 0
        upto = max(done + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        part = counts[done:upto]
        within = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        yield np.repeat(places[done:upto], part), np.repeat(begin[done:upto], part) + within
        done = upto
