"""Features of un-prompted towers on disk: a frozen tower sees each item once.

`CLIPBackbone` asks here exactly when a tower gets no prompts, so no method knows about it and no
method can get it wrong. Items are known by content: an image by the sha256 of its bytes, a
caption by that of its text. Another split, order or subset of the same pictures therefore finds
them; other weights or other preprocessing have another fingerprint, hence another folder.

    <root>/<backbone fingerprint>/<image|text>/<digest>.npy    float32 (rows, d)
    <root>/<backbone fingerprint>/<image|text>/<digest>.json   keys, shape, sha256, versions

A consequence: no augmentation on a cached tower.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fdrd.files.atomic import replacing
from fdrd.files.last_build import cache_folder

Vectors = npt.NDArray[np.float32]
log = logging.getLogger(__name__)


def default_cache() -> Path:
    """`$FDRD_CACHE`, else `~/.cache/fdrd`."""
    return cache_folder() / "features"


@dataclass
class _Shelf:
    """One tower of one backbone: where each key's vector is, and what is not on disk yet."""

    folder: Path
    found: dict[str, Vectors] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)


class FrozenFeatures:
    """Reads features by content and computes what is missing; `flush` writes that.

    New vectors are written `every` rows and at `flush`, so that a kill costs few of them.
    """

    def __init__(self, root: Path, *, every: int = 1024):
        self.root = root
        self.every = every
        self._shelves: dict[tuple[str, str], _Shelf] = {}

    def get(
        self,
        fingerprint: str,
        tower: str,
        keys: Sequence[str],
        compute: Callable[[list[int]], Tensor],
    ) -> Tensor:
        """(B, d) float32 on the CPU, one row per key.

        Args:
            fingerprint: of the backbone.
            tower: `image` or `text`.
            keys: content digest of each item.
            compute: features (len(rows), d) of the items at these rows of the batch.
        """
        shelf = self._shelf(fingerprint, tower)
        missing = {key: row for row, key in enumerate(keys) if key not in shelf.found}
        if missing:
            vectors = compute(list(missing.values())).detach().float().cpu().numpy()
            shelf.found.update(zip(missing, vectors, strict=True))
            shelf.fresh.extend(missing)
            if len(shelf.fresh) >= self.every:
                _write(shelf, fingerprint)
        return torch.from_numpy(np.stack([shelf.found[key] for key in keys]))

    def flush(self) -> None:
        """Write what has been computed since the last time."""
        for (fingerprint, _), shelf in self._shelves.items():
            if shelf.fresh:
                _write(shelf, fingerprint)

    def _shelf(self, fingerprint: str, tower: str) -> _Shelf:
        shelf = self._shelves.get((fingerprint, tower))
        if shelf is None:
            shelf = _Shelf(self.root / fingerprint / tower)
            for description in sorted(shelf.folder.glob("*.json")):
                shelf.found.update(_read(description, fingerprint))
            self._shelves[fingerprint, tower] = shelf
        return shelf


def _read(description: Path, fingerprint: str) -> dict[str, Vectors]:
    """Key -> vector of one file; empty, with a warning, where anything about it does not agree."""
    data = description.with_suffix(".npy")
    try:
        said: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        with data.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        vectors = np.load(data, mmap_mode="r", allow_pickle=False)
        agrees = (
            said["backbone"] == fingerprint
            and said["sha256"] == digest
            and vectors.dtype == np.float32
            and list(vectors.shape) == said["shape"]
            and len(said["keys"]) == len(vectors)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("cached features %s are not readable (%s); computed again", data, error)
        return {}
    if not agrees:
        log.warning("cached features %s are not what their description says; computed again", data)
        return {}
    return dict(zip(said["keys"], vectors.view(np.ndarray), strict=True))


def _write(shelf: _Shelf, fingerprint: str) -> None:
    """Put the fresh vectors on disk: data first, then the description that makes them count."""
    vectors = np.stack([shelf.found[key] for key in shelf.fresh])
    name = hashlib.sha256("\n".join(shelf.fresh).encode()).hexdigest()[:32]
    data = io.BytesIO()
    np.save(data, vectors)
    with replacing(shelf.folder / f"{name}.npy") as file:
        file.write(data.getbuffer())
    said = {
        "backbone": fingerprint,
        "shape": list(vectors.shape),
        "sha256": hashlib.sha256(data.getbuffer()).hexdigest(),
        "versions": {name: version(name) for name in ("torch", "transformers", "numpy")},
        "keys": shelf.fresh,
    }
    with replacing(shelf.folder / f"{name}.json") as file:
        file.write(json.dumps(said).encode())
    shelf.fresh = []
