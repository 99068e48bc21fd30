"""Find the images of a source that look alike, or mirrored or turned alike, although their bytes differ."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from fdrd.engines import available_cores
from fdrd.images import perceptual
from fdrd.images.perceptual import Features, Floats, Hashes, Indices, near_pairs, spectra, unpack

RADIUS = 8  # maximum Hamming distance between the 64-bit hashes of two images that are compared
# Of one image of a pair, so a quarter in either direction.
_MOVES = (perceptual.mirrored, perceptual.turned, perceptual.upside_down)
_BLOCK = 512  # pairs compared at a time: few enough for the caches of a processor

Node = TypeVar("Node", bound=Hashable)
Image = TypeVar("Image", bound=Hashable)


@dataclass(frozen=True, slots=True)
class NearImages(Generic[Image]):
    """A graph of the images that look like another image, or like a mirrored or turned copy of another.

    Images with equal or nearly equal features share a node.
    """

    node: Mapping[Image, int] = field(default_factory=dict)
    neighbors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """by node, the nodes that look like it; includes itself if several images share it"""
    kind: Literal["near", "mirrored"] = "near"  # of the links


def find_near_images(encoded: Mapping[str, str]) -> tuple[NearImages[str], NearImages[str]]:
    """Find the images that look alike (`link_near_images`), by digest with their encoded features."""
    digests = [digest for digest in sorted(encoded) if encoded[digest]]
    return link_near_images(digests, unpack([encoded[digest] for digest in digests]))


def link_near_images(
    names: Sequence[Image], features: Features
) -> tuple[NearImages[Image], NearImages[Image]]:
    """Find the images that look alike, and those that look alike after one is mirrored, or turned by quarters.

    Two images that look alike either way, e.g. of a symmetric object, are in the first graph only. The order of `names`
    must not depend on the source. `features` are (N, 14, 14) (`fdrd.images.perceptual`).
    """
    with ThreadPoolExecutor(available_cores()) as threads:  # NumPy works outside of the lock
        found, has_contrast = _hashed(features, threads)
        node_of = _first_nearly_equal(features, found[0])
        nodes = np.flatnonzero(has_contrast & (node_of == np.arange(len(node_of))))
        candidates = zip(_candidates(found[:, nodes]), (None, *_MOVES), strict=True)
        near, *moved = (
            set(_matches(features, nodes[pairs], move, threads)) for pairs, move in candidates
        )
    mirror = set[tuple[int, int]]().union(*moved) - near
    several = nodes[np.bincount(node_of, minlength=len(features))[nodes] > 1]
    near |= {(node, node) for node in several.tolist()}
    return _graph(near, names, node_of, "near"), _graph(mirror, names, node_of, "mirrored")


def _graph(
    links: Iterable[tuple[int, int]],
    names: Sequence[Image],
    node_of: Indices,
    kind: Literal["near", "mirrored"],
) -> NearImages[Image]:
    neighbors: dict[int, set[int]] = {}
    for one, other in links:
        neighbors.setdefault(one, set()).add(other)
        neighbors.setdefault(other, set()).add(one)
    linked = np.zeros(node_of.max(initial=-1) + 1, bool)
    linked[list(neighbors)] = True
    images = np.flatnonzero(linked[node_of]).tolist()
    return NearImages(
        {names[image]: int(node_of[image]) for image in images},
        {node: tuple(sorted(neighbors[node])) for node in sorted(neighbors)},
        kind,
    )


def _matches(
    features: Features,
    pairs: Indices,
    move: Callable[[Floats], Floats] | None,
    threads: ThreadPoolExecutor,
) -> Iterator[tuple[int, int]]:
    """Yield the pairs that look alike, lower number first, of (2, P) candidates; the second one is moved."""

    def compared(start: int) -> Indices:
        block = pairs[:, start : start + _BLOCK]
        second = spectra(features[block[1]])
        match = perceptual.alike(spectra(features[block[0]]), move(second) if move else second)
        return np.sort(block.T[match])

    for found in threads.map(compared, range(0, pairs.shape[1], _BLOCK)):
        yield from map(tuple, found.tolist())


def _hashed(
    features: Features, threads: ThreadPoolExecutor
) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Return hashes, (5, N): as it is, without border, moved; and whether there is contrast to compare."""
    found = np.zeros((2 + len(_MOVES), len(features)), np.uint64)
    has_contrast = np.zeros(len(features), bool)

    def hash_block(start: int) -> None:
        spectrum = spectra(features[start : start + _BLOCK])
        moved = (move(spectrum) for move in _MOVES)
        views = (spectrum, perceptual.without_border(spectrum), *moved)
        found[:, start : start + _BLOCK] = [perceptual.hashes(view) for view in views]
        has_contrast[start : start + _BLOCK] = (
            perceptual.contrast(spectrum) >= perceptual.MIN_CONTRAST
        )

    for _ in threads.map(hash_block, range(0, len(features), _BLOCK)):
        pass
    return found, has_contrast


def _first_nearly_equal(features: Features, full: Hashes) -> Indices:
    """Return (N,) for each image the first nearly equal one with the same hash, e.g. of a still camera, or itself."""
    order = np.argsort(full, kind="stable")
    _, starts, sizes = np.unique(full[order], return_index=True, return_counts=True)
    first_equal = np.arange(len(features))
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        group = order[start : start + size]
        while len(group) > 1:
            first = spectra(features[group[0]])
            blocks = np.split(group, range(_BLOCK, len(group), _BLOCK))
            same = np.concatenate(
                [perceptual.nearly_equal(spectra(features[each]), first) for each in blocks]
            )
            first_equal[group[same]] = group[0]
            group = group[~same]
    return first_equal


def _candidates(found: Hashes) -> list[Indices]:
    """Return (2, P) pairs of images with near hashes, and for each move those with one near the moved other.

    Pairs are sorted and distinct. `found` are (5, N) hashes: as it is, without border, moved.
    """
    count = max(found.shape[1], 1)
    unmoved, moved = found[:2].ravel(), found[2:].ravel()
    keys = [np.zeros(0, np.int64)]

    def add(move: Indices | int, one: Indices, other: Indices) -> None:
        keys.append(((move * count + one) * count + other)[one != other])

    for first, second in near_pairs(unmoved, RADIUS):
        first, second = first % count, second % count
        add(0, np.minimum(first, second), np.maximum(first, second))
    for first, second in near_pairs(moved, RADIUS, unmoved):
        add(first // count + 1, second % count, first % count)
    move, pair = np.divmod(np.unique(np.concatenate(keys)), count * count)
    return [np.stack(np.divmod(pair[move == index], count)) for index in range(1 + len(_MOVES))]


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
