"""Features of unprompted towers on disk: a frozen tower encodes each item once.

A backbone uses this cache only when a tower gets no prompts, so methods need not know about it. Items are keyed by
content: an image by the SHA-256 of its bytes, a caption by that of its text. Another split, order or subset of the
same images therefore hits the cache. Other weights or preprocessing have another fingerprint and folder.

    <root>/<backbone fingerprint>/<image|text>/<digest>.npy    float32 (rows, d)
    <root>/<backbone fingerprint>/<image|text>/<digest>.json   keys, shape, sha256, versions

Means of a layer are in folders of their own, e.g. `image-layer-4`. What one pass of a tower gives is computed once.

As a consequence there is no augmentation on a cached tower. Processes on several machines encode together, so they
use what is on disk only if all of them found the same.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.models.processes import all_agree
from fdrd.files.atomic import atomic_write, sha256_of
from fdrd.files.paths import cache_folder

Vectors = npt.NDArray[np.float32]
log = logging.getLogger(__name__)


def default_cache() -> Path:
    """Return the folder of cached features below `$FDRD_CACHE` or `~/.cache/fdrd`."""
    return cache_folder() / "features"


class _Description(msgspec.Struct):
    """What is written about a file of vectors, and makes it valid."""

    backbone: str
    shape: tuple[int, int]
    sha256: str
    versions: dict[str, str]
    keys: list[str]


@dataclass
class _Tower:
    """Vectors of one tower of one backbone by key, and the keys that are not on disk yet."""

    folder: Path
    found: dict[str, Vectors] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)


class FrozenFeatures:
    """Reads features by content and computes missing ones.

    New vectors are written every `every` rows and by `flush`, so a killed run loses few.
    """

    def __init__(self, root: Path, *, every: int = 1024):
        self.root = root
        self.every = every
        self._towers: dict[tuple[str, str], _Tower] = {}

    def get(
        self,
        fingerprint: str,
        towers: Sequence[str],
        keys: Sequence[str],
        compute: Callable[[list[int]], Sequence[Tensor]],
    ) -> list[Tensor]:
        """Return (B, d) float32 on the CPU for each tower, one row per key.

        Args:
            fingerprint: fingerprint of the backbone.
            towers: `image` or `text`, and layers of it, such as `image-layer-4`.
            keys: content digest of each item.
            compute: features (len(rows), d), for each tower, of the items at these rows of the batch.
        """
        cached = [self._tower(fingerprint, tower) for tower in towers]
        missing = {
            key: row
            for row, key in enumerate(keys)
            if any(key not in tower.found for tower in cached)
        }
        if missing:
            for tower, vectors in zip(cached, compute(list(missing.values())), strict=True):
                rows = dict(zip(missing, vectors.detach().float().cpu().numpy(), strict=True))
                fresh = [key for key in rows if key not in tower.found]
                tower.found.update({key: rows[key] for key in fresh})
                tower.fresh.extend(fresh)
                if len(tower.fresh) >= self.every:
                    _write(tower, fingerprint)
        return [torch.from_numpy(np.stack([tower.found[key] for key in keys])) for tower in cached]

    def flush(self) -> None:
        """Write all new vectors."""
        for (fingerprint, _), tower in self._towers.items():
            if tower.fresh:
                _write(tower, fingerprint)

    def _tower(self, fingerprint: str, name: str) -> _Tower:
        tower = self._towers.get((fingerprint, name))
        if tower is None:
            tower = _Tower(self.root / fingerprint / name)
            for description in sorted(tower.folder.glob("*.json")):
                tower.found.update(_read(description, fingerprint))
            if not all_agree(sorted(tower.found)):
                tower.found.clear()
            self._towers[fingerprint, name] = tower
        return tower


def _read(path: Path, fingerprint: str) -> dict[str, Vectors]:
    """Return the vectors of one file by key; none, with a warning, if anything about it is wrong."""
    data = path.with_suffix(".npy")
    try:
        stated = msgspec.json.decode(path.read_bytes(), type=_Description)
        digest = sha256_of(data)
        vectors = np.load(data, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, RecursionError) as error:
        log.warning("cached features %s are not readable (%s); computing them again", data, error)
        return {}
    same = (stated.backbone, stated.sha256, stated.shape) == (fingerprint, digest, vectors.shape)
    if not same or vectors.dtype != np.float32 or len(stated.keys) != len(vectors):
        log.warning("cached features %s do not match their description; computing them again", data)
        return {}
    return dict(zip(stated.keys, vectors.view(np.ndarray), strict=True))


def _write(tower: _Tower, fingerprint: str) -> None:
    """Write the new vectors, then the description that makes them valid; warn if the cache takes none."""
    keys, tower.fresh = tower.fresh, []
    vectors = np.stack([tower.found[key] for key in keys])
    name = hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
    data = io.BytesIO()
    np.save(data, vectors)
    digest = hashlib.sha256(data.getbuffer()).hexdigest()
    versions = {package: version(package) for package in ("torch", "transformers", "numpy")}
    stated = _Description(fingerprint, vectors.shape, digest, versions, keys)
    try:
        with atomic_write(tower.folder / f"{name}.npy") as file:
            file.write(data.getbuffer())
        with atomic_write(tower.folder / f"{name}.json") as file:
            file.write(msgspec.json.encode(stated))
    except OSError as error:
        log.warning("features are not cached: %s: %s", error.filename, error.strerror)
