"""Search by meaning: features of all images or captions, read once in the background, and scores of all rows.

The backbone of the dataset can always be searched with; methods that were measured can, too, where they can be loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fdrd.errors import FdrdError
from fdrd.viewer.facets import Floats, Indices
from fdrd.viewer.images import decoded
from fdrd.viewer.index import Index

if TYPE_CHECKING:
    from benchmark.models.backbone import Features
    from benchmark.registry import Method
    from fdrd.viewer.results import Runs

Side = Literal["image", "caption"]
BACKBONE = "backbone"
"""Key of the backbone of the dataset, without training."""
_EMBEDDED = "embedded"
_MOST_BYTES = 4 * 2**30
_BLOCK = 4096


class WaitingError(FdrdError):
    """Features are being computed: a page shows how far that is, and asks again."""

    def __init__(
        self, key: str, side: Side, stage: str = "starting", done: int = 0, total: int = 0
    ):
        super().__init__(f"{stage}: {done:,} of {total:,}" if total else stage)
        self.key, self.side = key, side
        self.stage, self.done, self.total = stage, done, total


@dataclass(frozen=True, slots=True)
class Gallery:
    """What a text or an image is compared with.

    Attributes:
        method: encodes the query and compares.
        features: features of the distinct images or captions of the dataset.
        of_row: (N,) position of the image or caption of each row of the index; -1 for none.
    """

    method: Method
    features: Features
    of_row: Indices


@dataclass(slots=True)
class Meaning:
    """Galleries by method and side, of the index that was asked for last.

    Attributes:
        runs: results whose methods can search.
    """

    runs: Runs | None = None
    _version: str = ""
    _galleries: dict[tuple[str, Side], Gallery | WaitingError | FdrdError] = field(
        default_factory=dict
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _scoring: threading.Lock = field(default_factory=threading.Lock)
    _one: threading.Lock = field(default_factory=threading.Lock)

    def methods(self, index: Index) -> list[tuple[str, str]]:
        """Return key and label of each method that can search."""
        found = [(BACKBONE, backbone_of(index))]
        return found + (self.runs.searchable() if self.runs else [])

    def scores(self, index: Index, key: str, text: str, like: str) -> Floats:
        """Return the score of every row of the index for a text, or for the image of a record.

        A text is compared with images, an image with captions.

        Raises:
            WaitingError: features are being computed.
            FdrdError: the method is unknown or cannot be loaded, or there is no such record.
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
        """Return (I, d) features of the images under the dataset's backbone, and the position of each row's image.

        Raises:
            WaitingError: they are being computed.
            FdrdError: the backbone cannot be loaded.
        """
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
        name = (key, side)
        with self._lock:
            if self._version != index.version:
                self._version, self._galleries = index.version, {}
            found, galleries = self._galleries.get(name), self._galleries
            if found is None:
                galleries[name] = WaitingError(key, side)
        if found is None:
            found = WaitingError(key, side)
            threading.Thread(
                target=self._compute, args=[index, galleries, name], daemon=True
            ).start()
        if isinstance(found, Gallery):
            return found
        if not isinstance(found, WaitingError):
            galleries.pop(name, None)
        raise found

    def waiting(self, key: str, side: str) -> WaitingError | None:
        """Return how far a gallery is; None where nothing is being computed."""
        found = next(
            (each for name, each in [*self._galleries.items()] if name == (key, side)), None
        )
        return found if isinstance(found, WaitingError) else None

    def _compute(
        self,
        index: Index,
        galleries: dict[tuple[str, Side], Gallery | WaitingError | FdrdError],
        name: tuple[str, Side],
    ) -> None:
        key, side = name

        def progress(stage: str, done: int, total: int) -> None:
            galleries[name] = WaitingError(key, side, stage.partition(" |")[0], done, total)

        try:
            with self._one:
                progress("loading the model", 0, 0)
                galleries[name] = _gallery(index, self._method(index, key), side, progress)
        except Exception as error:  # shown on the page; a thread has no other place for it
            galleries[name] = FdrdError(str(error) or type(error).__name__)

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


def _gallery(index: Index, method: Method, side: Side, progress: Any) -> Gallery:
    """Encode the distinct images or captions of a dataset.

    Raises:
        FdrdError: the dataset is damaged, or the features need too much memory.
    """
    import torch

    from benchmark.evaluation.encoding import BATCH, encoded_in_batches
    from benchmark.models.backbone import concatenate
    from benchmark.models.image_batches import Images
    from fdrd.dataset import load_splits

    parts, names = [], []
    with torch.no_grad():
        for view in load_splits(index.folder):
            images = Images.of(view)
            items: Any = images if side == "image" else view.captions
            encode = method.encode_image if side == "image" else method.encode_text
            found = encoded_in_batches(
                f"encoding {side}s of {view.split}",
                len(items),
                BATCH,
                _encoder(encode, items),
                progress,
            )
            parts.append(found)
            names += view.image_digests if side == "image" else view.captions
            if sum(map(_bytes, parts)) > _MOST_BYTES:
                raise FdrdError(
                    "its features need over 4 GiB of memory; search with another method"
                )
    frozen = getattr(getattr(method, "backbone", None), "frozen", None)
    if frozen is not None:
        frozen.flush()
    position = {name: number for number, name in enumerate(names)}
    rows = index.texts_of("image" if side == "image" else "caption")
    of_row = np.array([position.get(text, -1) for text in rows], np.int32)
    return Gallery(method, concatenate(parts), of_row)


def _encoder(encode: Callable[[Any], Features], items: Any) -> Callable[[slice], Features]:
    return lambda rows: encode(items[rows])


def _bytes(features: Features) -> int:
    tensors = (features.pooled, features.tokens)
    return sum(each.nelement() * each.element_size() for each in tensors if each is not None)
