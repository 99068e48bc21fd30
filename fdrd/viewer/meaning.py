"""What a backbone or a method makes of a dataset: search by meaning, the map, and the top ten of every query.

Features of all images or captions are read once, in the background. The backbone of the dataset can always be searched
with; methods that were measured can, too, where they can be loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.files.paths import cache_folder
from fdrd.progress import Progress, silent
from fdrd.viewer.facets import Floats, Indices, Mask
from fdrd.viewer.images import decoded
from fdrd.viewer.index import Index

if TYPE_CHECKING:
    import torch

    from benchmark.models.backbone import Features
    from benchmark.registry import Method
    from benchmark.result import BenchResult
    from fdrd.dataset import RetrievalDataset
    from fdrd.viewer.results import Runs

T = TypeVar("T")
Side = Literal["image", "caption"]
BACKBONE = "backbone"  # key of the backbone of the dataset, without training
_EMBEDDED = "embedded"
_MOST_BYTES = 4 * 2**30
_TOO_LARGE = "its features need over 4 GiB of memory; search with another method"
_BLOCK, _QUERIES = 4096, 256
SIDE = 1000  # coordinates of the map are integers from 0 to this
_TAIL = 0.5
"""Percent of the images at each side that are drawn on the border, because a few may be far away."""
TEN = 10


class WaitingError(FdrdError):
    """A value is being computed: a page shows how far that is, and asks again by `key` and `side`."""

    def __init__(self, stage: str = "starting", done: int = 0, total: int = 0):
        super().__init__(f"{stage}: {done:,} of {total:,}" if total else stage)
        self.stage, self.done, self.total = stage, done, total
        self.key, self.side = "", ""


class Background(Generic[T]):
    """Values by key, computed in the background, one at a time."""

    def __init__(self) -> None:
        self.found: dict[Any, T | FdrdError] = {}
        self._lock, self._one = threading.Lock(), threading.Lock()

    def get(self, key: object, compute: Callable[[Progress], T]) -> T:
        """Return a value; begin to compute it where it is not known.

        Raises:
            WaitingError: it is being computed.
            FdrdError: computing failed; the next call tries again.
        """
        with self._lock:
            found = self.found.get(key)
            if found is None:
                found = self.found[key] = WaitingError()
                threading.Thread(target=self._compute, args=[key, compute], daemon=True).start()
            elif isinstance(found, FdrdError) and not isinstance(found, WaitingError):
                del self.found[key]
        if isinstance(found, FdrdError):
            raise found
        return found

    def _compute(self, key: object, compute: Callable[[Progress], T]) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            self.found[key] = WaitingError(stage.partition(" |")[0], done, total)

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

    runs: Runs | None = None  # results whose methods can search
    _galleries: tuple[str, Background[Gallery]] = field(default_factory=lambda: ("", Background()))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _scoring: threading.Lock = field(default_factory=threading.Lock)

    def methods(self, index: Index) -> list[tuple[str, str]]:
        """Return key and label of each method that can search."""
        return [(BACKBONE, backbone_of(index)), *(self.runs.searchable() if self.runs else [])]

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

        def compute(progress: Progress) -> Gallery:
            return _gallery(index, self._method(index, key), side, progress)

        try:
            return galleries.get((key, side), compute)
        except WaitingError as waiting:
            waiting.key, waiting.side = key, side
            raise

    def waiting(self, key: str, side: str) -> WaitingError | None:
        """Return how far a gallery is; None where nothing is being computed."""
        found = self._galleries[1].found.get((key, side))
        if not isinstance(found, WaitingError):
            return None
        found.key, found.side = key, side
        return found

    def _method(self, index: Index, key: str) -> Method:
        from benchmark.checkpoint import untrained_method
        from benchmark.models.loading import cached_backbone

        if key == BACKBONE:
            return untrained_method("zero_shot", cached_backbone(backbone_of(index)))
        assert self.runs is not None
        return self.runs.method(key)


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
    corners = np.array([int(each) for each in area.split(",")]).reshape(-1, 2)
    found = np.zeros(len(points), bool)
    x, y = points[:, 0], points[:, 1]
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:
            found ^= ((y1 > y) != (y2 > y)) & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return found


@dataclass(frozen=True)
class Top:
    """The top ten of a method.

    Attributes:
        captions: (I, 10) row, among those that were measured, of each caption that an image finds; -1 for none.
        images: (N, 10) image number of each image that a row's caption finds.
        state: how far computing it is, the reason that it failed, or nothing.
        running: whether it is being computed now.
    """

    captions: np.ndarray[Any, Any] | None = None
    images: np.ndarray[Any, Any] | None = None
    state: str = ""
    running: bool = False

    @property
    def lacking(self) -> bool:
        """Whether it is neither known nor being computed."""
        return self.captions is None and not self.running


class Retrieved:
    """The top ten of some results, which is kept in the cache."""

    def __init__(self) -> None:
        self._tops = Background[Top]()

    def known(self, result: BenchResult) -> Top:
        """Return what is known now."""
        key = result.settings.identity()
        found = self._tops.found.get(key)
        if isinstance(found, FdrdError):
            return Top(state=str(found), running=isinstance(found, WaitingError))
        if found is None and (found := _read(_path(key))):
            self._tops.found[key] = found
        return found or Top()

    def start(self, folder: Path, result: BenchResult, file: Path) -> Top:
        """Return what is known now; begin to compute it where nothing is, or computing failed."""
        if self.known(result).lacking:
            key = result.settings.identity()
            self._tops.found.pop(key, None)
            with suppress(FdrdError):
                self._tops.get(key, lambda progress: _top(folder, result, file, progress))
        return self.known(result)


def _top(folder: Path, result: BenchResult, file: Path, progress: Progress) -> Top:
    from fdrd.dataset import load_view

    settings = result.settings
    dataset = load_view(folder, settings.split, settings.domain)
    if dataset.fingerprint != settings.data.fingerprint:
        raise FdrdError("the result was measured on other data")
    found = top_ten(method_of(result, file), dataset, settings.gallery == "joint", progress)
    assert found.captions is not None
    assert found.images is not None
    # Without the cache, e.g. in a home that cannot be written, it is kept in memory only.
    with suppress(OSError), atomic_write(_path(settings.identity())) as kept:
        np.savez(kept, captions=found.captions, images=found.images)
    return found


def _path(key: str) -> Path:
    return cache_folder() / "viewer" / "top" / f"{key[:32]}.npz"


def _read(path: Path) -> Top | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Top(file["captions"], file["images"])
    except (OSError, ValueError, KeyError):
        return None


def method_of(result: BenchResult, file: Path) -> Method:
    """Return the method of a result, from the checkpoint next to its file where it was trained."""
    from benchmark.checkpoint import load_method, untrained_method
    from benchmark.models.loading import cached_backbone

    measured = result.settings.backbone
    backbone = cached_backbone(measured.name)
    if backbone.fingerprint != measured.fingerprint:
        raise FdrdError(f"the backbone {measured.name} is not the one that was measured")
    weights = file.with_suffix(".safetensors")
    if weights.is_file():
        return load_method(weights, backbone=backbone)
    return untrained_method(result.settings.method, backbone)


def top_ten(
    method: Method, dataset: RetrievalDataset, joint: bool, progress: Progress = silent
) -> Top:
    """Return the top ten of every query."""
    import torch

    from benchmark.evaluation.encoding import encode_split

    row_of_caption = np.unique(dataset.pairs[:, 1], return_index=True)[1]
    image_domain = torch.as_tensor(dataset.image_domain)
    text_domain = image_domain[torch.as_tensor(dataset.pairs[row_of_caption, 0])]

    def best(items: torch.Tensor, dim: int) -> np.ndarray[Any, Any]:
        """Return what some images find among all texts (dim 1), or some texts among all images (0)."""
        rows, columns = (items, slice(None)) if dim == 1 else (slice(None), items)
        pair = (images[items], texts) if dim == 1 else (images, texts[items])
        scores = method.similarity(*pair).float().cpu()
        if not joint:
            scores[image_domain[rows][:, None] != text_domain[columns][None]] = -torch.inf
        found = scores.topk(min(TEN, scores.shape[dim]), dim=dim)
        indices = found.indices.masked_fill(found.values == -torch.inf, -1)
        return (indices if dim == 1 else indices.T).numpy()

    def all_of(count: int, dim: int) -> np.ndarray[Any, Any]:
        starts = range(0, count, _QUERIES)
        blocks = [torch.arange(start, min(start + _QUERIES, count)) for start in starts]
        return np.concatenate([best(block, dim) for block in blocks])

    with torch.no_grad():
        images, texts = encode_split(method, dataset, progress)
        captions = all_of(len(dataset.image_digests), 1)
        found_rows = np.where(captions >= 0, row_of_caption[captions], -1)
        return Top(found_rows, all_of(len(dataset.captions), 0)[dataset.pairs[:, 1]])
