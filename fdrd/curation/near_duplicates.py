"""Find the images of a source that look alike although their bytes differ."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fdrd.images.near_search import Hashes, Indices, pairs_within
from fdrd.images.perceptual import (
    MIN_CONTRAST,
    Features,
    alike,
    contrast,
    hashes,
    nearly_equal,
    spectra,
    unpack,
    without_border,
)

RADIUS = 8
"""Maximum Hamming distance between the 64-bit hashes of two images that are compared."""
_BLOCK = 4096  # pairs compared at a time

Node = TypeVar("Node", bound=Hashable)


@dataclass(frozen=True, slots=True)
class NearImages:
    """A graph of the images that look like another image.

    Images with equal or nearly equal features share a node.

    Attributes:
        node: by image digest, the node.
        neighbors: by node, the nodes that look like it; includes itself if several images share it.
    """

    node: Mapping[str, int] = field(default_factory=dict)
    neighbors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def find_near_images(encoded: Mapping[str, str]) -> NearImages:
    """Find the images that look alike.

    Args:
        encoded: by image digest, the features (`fdrd.images.perceptual`), empty if there are none.
    """
    digests: dict[str, list[str]] = {}
    for digest in sorted(encoded):
        if encoded[digest]:
            digests.setdefault(encoded[digest], []).append(digest)
    features = unpack(list(digests))
    full, borderless, has_contrast = _hashed(features)
    first_equal = _first_nearly_equal(features, full)
    nodes = np.flatnonzero(has_contrast & (first_equal == np.arange(len(first_equal))))
    images: dict[int, list[str]] = {node: [] for node in nodes.tolist()}
    for node, same in zip(first_equal.tolist(), digests.values(), strict=True):
        if node in images:
            images[node] += same
    neighbors: dict[int, set[int]] = {
        node: {node} for node, several in images.items() if len(several) > 1
    }
    first, second = _candidates(full[nodes], borderless[nodes])
    for start in range(0, len(first), _BLOCK):
        one, other = nodes[first[start : start + _BLOCK]], nodes[second[start : start + _BLOCK]]
        match = alike(spectra(features[one]), spectra(features[other]))
        for a, b in zip(one[match].tolist(), other[match].tolist(), strict=True):
            neighbors.setdefault(a, set()).add(b)
            neighbors.setdefault(b, set()).add(a)
    return NearImages(
        {digest: node for node in neighbors for digest in images[node]},
        {node: tuple(sorted(others)) for node, others in neighbors.items()},
    )


def _hashed(features: Features) -> tuple[Hashes, Hashes, npt.NDArray[np.bool_]]:
    """Return (N,) hashes, hashes without the border, and whether there is enough contrast to compare."""
    full, borderless = [np.zeros(0, np.uint64)], [np.zeros(0, np.uint64)]
    has_contrast = [np.zeros(0, bool)]
    for start in range(0, len(features), _BLOCK):
        spectrum = spectra(features[start : start + _BLOCK])
        full.append(hashes(spectrum))
        borderless.append(hashes(without_border(spectrum)))
        has_contrast.append(contrast(spectrum) >= MIN_CONTRAST)
    return np.concatenate(full), np.concatenate(borderless), np.concatenate(has_contrast)


def _first_nearly_equal(features: Features, full: Hashes) -> Indices:
    """Return (N,) for each image the first nearly equal one with the same hash, or itself.

    A thousand frames of a still camera are thus compared with one of them, not each with each.
    """
    order = np.argsort(full, kind="stable")
    _, starts, sizes = np.unique(full[order], return_index=True, return_counts=True)
    first_equal = np.arange(len(features))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = order[start : start + size]
        while len(group) > 1:
            same = nearly_equal(spectra(features[group]), spectra(features[group[0]]))
            first_equal[group[same]] = group[0]
            group = group[~same]
    return first_equal


def _candidates(full: Hashes, borderless: Hashes) -> tuple[Indices, Indices]:
    """Return pairs of images with near hashes, with or without their borders, sorted and distinct."""
    count = max(len(full), 1)
    keys = [np.zeros(0, dtype=np.int64)]
    for first, second in pairs_within(np.concatenate([full, borderless]), RADIUS):
        first, second = first % count, second % count
        low, high = np.minimum(first, second), np.maximum(first, second)
        keys.append(np.unique((low * count + high)[low < high]))
    merged = np.unique(np.concatenate(keys))
    return merged // count, merged % count


def components(links: Iterable[tuple[Node, Node]]) -> dict[Node, Node]:
    """Map each linked node to one representative of its connected component.

    >>> roots = components([("a", "b"), ("c", "d"), ("b", "d")])
    >>> len(set(roots.values())), sorted(roots)
    (1, ['a', 'b', 'c', 'd'])
    """
    parent: dict[Node, Node] = {}

    def root(node: Node) -> Node:
        path = []
        while parent.setdefault(node, node) != node:
            path.append(node)
            node = parent[node]
        for passed in path:
            parent[passed] = node
        return node

    for one, other in links:
        parent[root(one)] = root(other)
    return {node: root(node) for node in list(parent)}
