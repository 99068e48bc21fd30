"""What a backbone or a method makes of a dataset: search by meaning, and the map.

Features of all images or captions are read once, in the background. The backbone of the dataset can always be searched
with; methods that were measured can, too, where they can be loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

from fdrd.errors import FdrdError
from fdrd.progress import Progress
from fdrd.viewer.facets import Floats, Indices, Mask
from fdrd.viewer.images import decoded
from fdrd.viewer.index import Index

if TYPE_CHECKING:
    from benchmark.models.backbone import Features
    from benchmark.registry import Method

T = TypeVar("T")
Side = Literal["image", "caption"]
BACKBONE = "backbone"  # key of the backbone of the dataset, without training
_EMBEDDED = "embedded"
_MOST_BYTES = 4 * 2**30
_TOO_LARGE = "its features need over 4 GiB of memory; search with another method"
_BLOCK = 4096
SIDE = 1000  # coordinates of the map are integers from 0 to this
_TAIL = 0.5
"""Percent of the images at each side that are drawn on the border, because a few may be far away."""


class WaitingError(FdrdError):
    """A value is being computed: a page shows how far that is, and asks again by the key."""

    def __init__(self, key: Hashable, stage: str = "starting", done: int = 0, total: int = 0):
        super().__init__(f"{stage}: {done:,} of {total:,}" if total else stage)
        self.key, self.stage, self.done, self.total = key, stage, done, total


class Background(Generic[T]):
    """Values by key, computed in the background, one at a time."""

    def __init__(self) -> None:
        self.found: dict[Hashable, T | FdrdError] = {}
        self._lock, self._one = threading.Lock(), threading.Lock()

    def get(self, key: Hashable, compute: Callable[[Progress], T]) -> T:
        """Return a value; begin to compute it where it is not known.

        Raises:
            WaitingError: it is being computed.
            FdrdError: computing failed; the next call tries again.
        """
        with self._lock:
            found = self.found.get(key)
            if found is None:
                found = self.found[key] = WaitingError(key)
                threading.Thread(target=self._compute, args=[key, compute], daemon=True).start()
            elif isinstance(found, FdrdError) and not isinstance(found, WaitingError):
                del self.found[key]
        if isinstance(found, FdrdError):
            raise found
        return found

    def _compute(self, key: Hashable, compute: Callable[[Progress], T]) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            self.found[key] = WaitingError(key, stage.partition(" |")[0], done, total)

        try:
            with self._one:
                progress("loading the model", 0, 0)
                self.found[key] = compute(progress)
        except Exception as error:  # shown on the page; a thread has no other place for it
            self.found[key] = FdrdError(str(error) or type(error).__name__)


@dataclass(frozen=True, slots=True)
class Gallery:
    """What a text or an image is compared with."""

    method: Method  # encodes the query and compares
    features: Features  # features of the distinct images or captions of the dataset
    of_row: Indices  # (N,) position of the image or caption of each row of the index; -1 for none


@dataclass(slots=True)
class Meaning:
    """Galleries by method and side, of the index that was asked for last."""

    measured: Mapping[str, tuple[str, Callable[[], Method]]] = field(default_factory=dict)
    """Label and loader of the methods that were measured, by key."""
    _galleries: tuple[str, Background[Gallery]] = field(default_factory=lambda: ("", Background()))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _scoring: threading.Lock = field(default_factory=threading.Lock)

    def methods(self, index: Index) -> list[tuple[str, str]]:
        """Return key and label of each method that can search."""
        measured = ((key, label) for key, (label, _) in self.measured.items())
        return [(BACKBONE, backbone_of(index)), *measured]

    def scores(self, index: Index, key: str, text: str, like: str) -> Floats:
        """Return the score of every row of the index for a text, or for the image of a record.

        A text is compared with images, an image with captions.
        """
        import torch

        query: Any = text
        if like:
            record = index.record(like)
            if record is None:
                raise FdrdError("no such record")
            query = decoded(index.folder / index.shards[record["shard"]][0], record)
        gallery = self.gallery(index, key, "caption" if like else "image")
        with self._scoring, torch.no_grad():
            method, blocks = gallery.method, []
            encoded = method.encode_image([query]) if like else method.encode_text([query])
            for start in range(0, len(gallery.features), _BLOCK):
                some = gallery.features[slice(start, start + _BLOCK)]
                pair = (encoded, some) if like else (some, encoded)
                blocks.append(method.similarity(*pair).float().cpu().numpy().ravel())
        scores = np.append(np.concatenate(blocks), -np.inf).astype(np.float32)
        scores[np.isnan(scores)] = -np.inf
        found: Floats = scores[gallery.of_row]
        return found

    def image_vectors(self, index: Index) -> tuple[Floats, Indices]:
        """Return (I, d) features of the images under the dataset's backbone, and the position of each row's image."""
        gallery = self.gallery(index, BACKBONE, "image")
        return gallery.features.pooled.float().cpu().numpy(), gallery.of_row

    def gallery(self, index: Index, key: str, side: Side) -> Gallery:
        """Return a gallery; begin to compute it where it is not known.

        Raises:
            WaitingError: it is being computed.
            FdrdError: the method is unknown, or computing failed; the next call tries again.
        """
        if key not in dict(self.methods(index)):
            raise FdrdError("no such method")
        with self._lock:
            if self._galleries[0] != index.version:
                self._galleries = index.version, Background()
            galleries = self._galleries[1]
        return galleries.get(
            (key, side), lambda seen: _gallery(index, self._method(index, key), side, seen)
        )

    def waiting(self, key: str, side: str) -> WaitingError | None:
        """Return how far a gallery is; None where nothing is being computed."""
        found = self._galleries[1].found.get((key, side))
        return found if isinstance(found, WaitingError) else None

    def _method(self, index: Index, key: str) -> Method:
        from benchmark.checkpoint import untrained_method
        from benchmark.models.loading import cached_backbone

        if key != BACKBONE:
            return self.measured[key][1]()
        return untrained_method("zero_shot", cached_backbone(backbone_of(index)))


def backbone_of(index: Index) -> str:
    """Return the backbone that a dataset names, else the embedded one, which needs no download."""
    return index.manifest.backbone or _EMBEDDED


def _gallery(index: Index, method: Method, side: Side, progress: Progress) -> Gallery:
    """Encode the distinct images or captions of a dataset."""
    import torch

    from benchmark.evaluation.encoding import BATCH, encoded_in_batches
    from benchmark.models.backbone import concatenate
    from benchmark.models.image_batches import Images
    from fdrd.dataset import load_splits

    parts, names = [], []
    encode: Callable[[Any], Features]
    encode = method.encode_image if side == "image" else method.encode_text
    with torch.no_grad():
        for view in load_splits(index.folder):
            items: Any = Images.of(view) if side == "image" else view.captions
            stage = f"encoding {side}s of {view.split}"
            some = partial(lambda items, rows: encode(items[rows]), items)
            parts.append(encoded_in_batches(stage, len(items), BATCH, some, progress))
            names += view.image_digests if side == "image" else view.captions
            if sum(map(_bytes, parts)) > _MOST_BYTES:
                raise FdrdError(_TOO_LARGE)
    frozen = getattr(getattr(method, "backbone", None), "frozen", None)
    if frozen is not None:
        frozen.flush()
    position = {name: place for place, name in enumerate(names)}
    of_row = np.array([position.get(text, -1) for text in index.texts_of(side)], np.int32)
    return Gallery(method, concatenate(parts), of_row)


def _bytes(features: Features) -> int:
    tensors = (features.pooled, features.tokens)
    return sum(each.nelement() * each.element_size() for each in tensors if each is not None)


def plane(vectors: Floats) -> Indices:
    """Return (I, 2) coordinates of images: their first two principal components, stretched to the map."""
    x = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    _, directions = np.linalg.eigh((x.T @ x).astype(np.float64))
    if x.shape[1] < 2:
        directions = np.ones((x.shape[1], 2))
    axes = directions[:, -1:-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # eigenvectors have no sign
    points = x @ axes
    low, high = np.percentile(points, [_TAIL, 100 - _TAIL], axis=0)
    scaled = (points - low) / np.maximum(high - low, 1e-12)
    found: Indices = (np.clip(scaled, 0, 1) * SIDE).round().astype(np.int32)
    return found


def inside(points: Indices, area: str) -> Mask:
    """Return which points are inside a polygon, `x,y` of each corner, by the even-odd rule.

    >>> inside(np.array([[5, 5], [15, 5]]), "0,0,10,0,10,10,0,10").tolist()
    [True, False]
    """
    corners = np.array(area.split(","), int).reshape(-1, 2)
    found = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:  # as static/map.js counts the points, also those on an edge
            found ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return found
