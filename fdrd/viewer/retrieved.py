"""What each method retrieves first: the top ten of every query, computed once in the background and kept."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmark.checkpoint import load_method, untrained_method
from benchmark.evaluation.encoding import encode_split
from benchmark.models.loading import cached_backbone
from benchmark.registry import Method
from benchmark.result import BenchResult
from fdrd.dataset import RetrievalDataset, load_view
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_write
from fdrd.files.paths import cache_folder
from fdrd.progress import Progress, silent

TEN = 10
_BLOCK = 256


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
    """Cache of the top ten of some results, computed one result at a time."""

    def __init__(self) -> None:
        self._found: dict[str, Top] = {}
        self._lock = threading.Lock()
        self._one = threading.Lock()

    def known(self, result: BenchResult) -> Top:
        """Return what is known now."""
        key = result.settings.identity()
        with self._lock:
            if key not in self._found:
                self._found[key] = _read(_path(key)) or Top()
            return self._found[key]

    def start(self, folder: Path, result: BenchResult, file: Path) -> Top:
        """Return what is known now; begin to compute it where nothing is."""
        found = self.known(result)
        if found.captions is not None or found.running:
            return found
        key = result.settings.identity()
        with self._lock:
            self._found[key] = found = Top(state="waiting", running=True)
        threading.Thread(
            target=self._compute, args=[folder, result, file, key], daemon=True
        ).start()
        return found

    def _compute(self, folder: Path, result: BenchResult, file: Path, key: str) -> None:
        def progress(stage: str, done: int, total: int) -> None:
            self._found[key] = Top(state=f"{stage}: {done:,} of {total:,}", running=True)

        try:
            with self._one:
                settings = result.settings
                dataset = load_view(folder, settings.split, settings.domain)
                if dataset.fingerprint != settings.data.fingerprint:
                    raise FdrdError("the result was measured on other data")
                found = top_ten(
                    method_of(result, file), dataset, settings.gallery == "joint", progress
                )
                _write(_path(key), found)
        except Exception as error:  # shown on the page; a thread has no other place for it
            found = Top(state=f"{error or type(error).__name__}")
        with self._lock:
            self._found[key] = found


def method_of(result: BenchResult, file: Path) -> Method:
    """Return the method of a result, from the checkpoint next to its file where it was trained.

    Raises:
        FdrdError: there is no checkpoint, or the backbone is not the one that was measured.
    """
    settings = result.settings
    backbone = cached_backbone(settings.backbone.name)
    if backbone.fingerprint != settings.backbone.fingerprint:
        raise FdrdError(f"the backbone {settings.backbone.name} is not the one that was measured")
    weights = file.with_suffix(".safetensors")
    if weights.is_file():
        return load_method(weights, backbone=backbone)
    return untrained_method(settings.method, backbone)


@torch.no_grad()
def top_ten(
    method: Method, dataset: RetrievalDataset, joint: bool, progress: Progress = silent
) -> Top:
    """Return the top ten of every query.

    Args:
        method: ready to encode and score.
        dataset: the split that was measured.
        joint: one gallery for all domains, not one for each.
        progress: function that is called for each batch.
    """
    images, texts = encode_split(method, dataset, progress)
    row_of_caption = np.unique(dataset.pairs[:, 1], return_index=True)[1]
    image_domain = torch.as_tensor(dataset.image_domain)
    text_domain = image_domain[torch.as_tensor(dataset.pairs[row_of_caption, 0])]

    def best(numbers: torch.Tensor, dim: int) -> np.ndarray[Any, Any]:
        rows, columns = (numbers, slice(None)) if dim == 1 else (slice(None), numbers)
        some_images = images[numbers] if dim == 1 else images
        some_texts = texts if dim == 1 else texts[numbers]
        scores = method.similarity(some_images, some_texts).float().cpu()
        if not joint:
            scores[image_domain[rows][:, None] != text_domain[columns][None]] = -torch.inf
        found = scores.topk(min(TEN, scores.shape[dim]), dim=dim)
        numbers_found = found.indices.masked_fill(found.values == -torch.inf, -1)
        return (numbers_found if dim == 1 else numbers_found.T).numpy()

    def all_of(count: int, dim: int) -> np.ndarray[Any, Any]:
        blocks = [
            torch.arange(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK)
        ]
        return np.concatenate([best(block, dim) for block in blocks])

    captions = all_of(len(dataset.image_digests), 1)
    found_rows = np.where(captions >= 0, row_of_caption[captions], -1)
    return Top(found_rows, all_of(len(dataset.captions), 0)[dataset.pairs[:, 1]])


def _path(key: str) -> Path:
    return cache_folder() / "viewer" / "top" / f"{key[:32]}.npz"


def _read(path: Path) -> Top | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            return Top(file["captions"], file["images"])
    except (OSError, ValueError, KeyError):
        return None


def _write(path: Path, top: Top) -> None:
    assert top.captions is not None
    assert top.images is not None
    with suppress(OSError), atomic_write(path) as file:  # e.g. a home that cannot be written
        np.savez(file, captions=top.captions, images=top.images)
