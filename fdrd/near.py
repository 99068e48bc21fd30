"""Which images of a source look alike although their bytes differ, and what hangs together by that."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from fdrd.hamming import Indices, pairs_within
from fdrd.looks import (
    PLAIN,
    Floats,
    alike,
    codes,
    contrast,
    hardly_differ,
    spectra,
    without_rim,
)

RADIUS = 8  # bits of 64 in which the codes of two images that are compared may differ
_BLOCK = 4096  # pairs compared at a time

Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True, slots=True)
class NearImages:
    """The images that look like another one.

    Attributes:
        look: of such an image, by digest: a number that images share whose looks are the same, or hardly differ.
        alike: by look, the looks that are like it, itself included if several images share it.
    """

    look: Mapping[str, int] = field(default_factory=dict)
    alike: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def find_near(look_of: Mapping[str, str]) -> NearImages:
    """The images that look alike.

    Args:
        look_of: by digest of the bytes, the look (`fdrd.looks`), or nothing where there is none.
    """
    digests: dict[str, list[str]] = {}
    for digest in sorted(look_of):
        if look_of[digest]:
            digests.setdefault(look_of[digest], []).append(digest)
    spectrum = spectra(list(digests))
    shown = np.flatnonzero(contrast(spectrum) >= PLAIN)
    spectrum, same = spectrum[shown], [list(digests.values())[place] for place in shown]
    first_of = _first_of_same(spectrum)
    kept = np.flatnonzero(first_of == np.arange(len(first_of)))
    spectrum = spectrum[kept]
    images: list[list[str]] = [[] for _ in kept]
    for number, place in enumerate(np.searchsorted(kept, first_of).tolist()):
        images[place] += same[number]
    found: dict[int, set[int]] = {
        number: {number} for number, several in enumerate(images) if len(several) > 1
    }
    first, second = _candidates(spectrum)
    for start in range(0, len(first), _BLOCK):
        one, other = first[start : start + _BLOCK], second[start : start + _BLOCK]
        are = alike(spectrum[one], spectrum[other])
        for a, b in zip(one[are].tolist(), other[are].tolist(), strict=True):
            found.setdefault(a, set()).add(b)
            found.setdefault(b, set()).add(a)
    return NearImages(
        {digest: number for number in found for digest in images[number]},
        {number: tuple(sorted(others)) for number, others in found.items()},
    )


def _first_of_same(spectrum: Floats) -> Indices:
    """(N,) for each picture the first with the same code that hardly differs, itself if there is none.

    A thousand frames of a still camera are compared with one of them, not each with each.
    """
    code = codes(spectrum)
    order = np.argsort(code, kind="stable")
    _, starts, sizes = np.unique(code[order], return_index=True, return_counts=True)
    first_of = np.arange(len(spectrum))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = order[start : start + size]
        while len(group) > 1:
            same = hardly_differ(spectrum[group], spectrum[group[0]])
            first_of[group[same]] = group[0]
            group = group[~same]
    return first_of


def _candidates(spectrum: Floats) -> tuple[Indices, Indices]:
    """Numbers of pairs of images with near codes, with or without their rims, each pair once, in order."""
    count = len(spectrum)
    both = np.concatenate([codes(spectrum), codes(without_rim(spectrum))])
    keys = [np.zeros(0, dtype=np.int64)]
    for first, second in pairs_within(both, RADIUS):
        first, second = first % count, second % count
        low, high = np.minimum(first, second), np.maximum(first, second)
        keys.append(np.unique(low * count + high))
    merged = np.unique(np.concatenate(keys))
    merged = merged[merged // max(count, 1) != merged % max(count, 1)]
    return merged // max(count, 1), merged % max(count, 1)


def components(links: Iterable[tuple[Node, Node]]) -> dict[Node, Node]:
    """For each linked node, one node that all have in common that hang together with it.

    >>> found = components([("a", "b"), ("c", "d"), ("b", "d")])
    >>> len(set(found.values())), sorted(found)
    (1, ['a', 'b', 'c', 'd'])
    """
    above: dict[Node, Node] = {}

    def top(node: Node) -> Node:
        path = []
        while above.setdefault(node, node) != node:
            path.append(node)
            node = above[node]
        for passed in path:
            above[passed] = node
        return node

    for one, other in links:
        above[top(one)] = top(other)
    return {node: top(node) for node in list(above)}
