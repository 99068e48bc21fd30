"""Which images of a source look alike although their bytes differ, and what hangs together by that."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fdrd.images.near_search import Codes, Indices, pairs_within
from fdrd.images.perceptual import (
    PLAIN,
    Looks,
    alike,
    codes,
    contrast,
    hardly_differ,
    spectra,
    unpacked,
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
        look_of: by digest of the bytes, the look (`fdrd.images.perceptual`), or nothing where there is none.
    """
    digests: dict[str, list[str]] = {}
    for digest in sorted(look_of):
        if look_of[digest]:
            digests.setdefault(look_of[digest], []).append(digest)
    looks = unpacked(list(digests))
    code, rimless, shows = _described(looks)
    first_of = _first_of_same(looks, code)
    kept = np.flatnonzero(shows & (first_of == np.arange(len(first_of))))
    images: dict[int, list[str]] = {place: [] for place in kept.tolist()}
    for place, same in zip(first_of.tolist(), digests.values(), strict=True):
        if place in images:
            images[place] += same
    found: dict[int, set[int]] = {
        number: {number} for number, several in images.items() if len(several) > 1
    }
    first, second = _candidates(code[kept], rimless[kept])
    for start in range(0, len(first), _BLOCK):
        one, other = kept[first[start : start + _BLOCK]], kept[second[start : start + _BLOCK]]
        are = alike(spectra(looks[one]), spectra(looks[other]))
        for a, b in zip(one[are].tolist(), other[are].tolist(), strict=True):
            found.setdefault(a, set()).add(b)
            found.setdefault(b, set()).add(a)
    return NearImages(
        {digest: number for number in found for digest in images[number]},
        {number: tuple(sorted(others)) for number, others in found.items()},
    )


def _described(looks: Looks) -> tuple[Codes, Codes, npt.NDArray[np.bool_]]:
    """(N,) codes, codes without the rim, and whether there is enough to be seen; a block at a time."""
    codes_of, rimless, shows = (
        [np.zeros(0, np.uint64)],
        [np.zeros(0, np.uint64)],
        [np.zeros(0, bool)],
    )
    for start in range(0, len(looks), _BLOCK):
        spectrum = spectra(looks[start : start + _BLOCK])
        codes_of.append(codes(spectrum))
        rimless.append(codes(without_rim(spectrum)))
        shows.append(contrast(spectrum) >= PLAIN)
    return np.concatenate(codes_of), np.concatenate(rimless), np.concatenate(shows)


def _first_of_same(looks: Looks, code: Codes) -> Indices:
    """(N,) for each picture the first with the same code that hardly differs, itself if there is none.

    A thousand frames of a still camera are compared with one of them, not each with each.
    """
    order = np.argsort(code, kind="stable")
    _, starts, sizes = np.unique(code[order], return_index=True, return_counts=True)
    first_of = np.arange(len(looks))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = order[start : start + size]
        while len(group) > 1:
            same = hardly_differ(spectra(looks[group]), spectra(looks[group[0]]))
            first_of[group[same]] = group[0]
            group = group[~same]
    return first_of


def _candidates(code: Codes, rimless: Codes) -> tuple[Indices, Indices]:
    """Numbers of pairs of images with near codes, with or without their rims, each pair once, in order."""
    count = max(len(code), 1)
    keys = [np.zeros(0, dtype=np.int64)]
    for first, second in pairs_within(np.concatenate([code, rimless]), RADIUS):
        first, second = first % count, second % count
        low, high = np.minimum(first, second), np.maximum(first, second)
        keys.append(np.unique((low * count + high)[low < high]))
    merged = np.unique(np.concatenate(keys))
    return merged // count, merged % count


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
