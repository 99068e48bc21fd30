"""Stored features as an encoder: `features:FOLDER`, so that the features of any system can be ranked and adapted.

| file | content |
|---|---|
| `images.npy` | (I, d) numbers, one row per image |
| `images.json` | list of I strings, the SHA-256 of each image file |
| `texts.npy` | (T, d) numbers, one row per caption |
| `texts.json` | list of T strings, the captions |
| `images.layer-K.npy`, `texts.layer-K.npy` | optional: (I, w) and (T, v) numbers, means of layer K, e.g. 0, 6, 12 |

Rows need not have unit length. Where images and texts differ in d, only `cca` can join them. Nothing is unpickled.
`fdrd export --to features` writes such a folder for any backbone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from benchmark.models.backbone import Encoder, EncoderSetup, Features
from benchmark.models.image_batches import Images, digests
from benchmark.models.plain_encoder import LayerFunctions, PlainEncoder
from fdrd.dataset import RetrievalDataset
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_folder
from fdrd.progress import Progress, silent

BATCH = 64


def load(target: str, **setup: Unpack[EncoderSetup]) -> PlainEncoder:
    """Return the encoder of a folder of features, which are not cached again; it has no options.

    Raises:
        FdrdError: a file is missing or does not fit the others.
    """
    name = setup["name"]
    setup["options"].only(name)
    folder = Path(target).expanduser()
    digest = hashlib.sha256(b"stored features")
    images, texts = (_Side.read(folder, side, name, digest) for side in ("images", "texts"))
    if sorted(images.layers) != sorted(texts.layers):
        raise FdrdError(
            f"backbone {name!r}: images have layers {sorted(images.layers)}, texts {sorted(texts.layers)}; "
            f"store the same ones for both"
        )
    layers = None
    if images.layers:
        last = max(images.layers)
        layers = LayerFunctions(
            lambda some, chosen: images.features(digests(some), chosen),
            texts.features,
            vision_layers=last,
            text_layers=last,
            vision_width=images.layers[last].shape[1],
            text_width=texts.layers[last].shape[1],
        )
    return PlainEncoder(
        lambda some: images.features(digests(some)).pooled,
        lambda some: texts.features(some).pooled,
        name=name,
        fingerprint=digest.hexdigest(),
        dim=images.width,
        text_dim=texts.width if texts.width != images.width else None,
        device=setup["device"],
        layers=layers,
    )


@dataclass(frozen=True)
class _Side:
    """Stored features of images or of texts: the row of each key, rows (N, d), and (N, w) by number of the layer."""

    name: str
    side: str
    row: dict[str, int]
    rows: Any
    layers: dict[int, Any]

    @classmethod
    def read(cls, folder: Path, side: str, name: str, digest: Any) -> _Side:
        """Read and check the files of one side, and add them to a digest."""
        try:
            keys = json.loads((folder / f"{side}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise FdrdError(f"backbone {name!r}: {side} cannot be read ({error})") from error
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise FdrdError(f"backbone {name!r}: {side}.json must be a list of strings")
        rows = _array(folder / f"{side}.npy", keys, name, digest)
        digest.update(json.dumps(keys).encode())
        layers = {}
        for path in sorted(folder.glob(f"{side}.layer-*.npy")):
            layer = path.name.removeprefix(f"{side}.layer-").removesuffix(".npy")
            if not layer.isdecimal() or len(layer) > 4 or int(layer) in layers:
                raise FdrdError(f"backbone {name!r}: {path.name} does not name a layer by number")
            digest.update(path.name.encode())
            layers[int(layer)] = _array(path, keys, name, digest)
        if len({each.shape[1] for each in layers.values()}) > 1:
            raise FdrdError(f"backbone {name!r}: layers of {side} differ in width")
        return cls(name, side, {key: row for row, key in enumerate(keys)}, rows, layers)

    @property
    def width(self) -> int:
        return int(self.rows.shape[1])

    def features(self, keys: Sequence[str], layers: Sequence[int] = ()) -> Features:
        """Return the features of some items."""
        missing = [key for key in keys if key not in self.row]
        if missing:
            raise FdrdError(
                f"backbone {self.name!r} has no features of {len(missing)} of {len(keys)} {self.side}, "
                f"e.g. {missing[0]!r}; add them to {self.side}.npy and {self.side}.json"
            )
        for layer in layers:
            if layer not in self.layers:
                raise FdrdError(
                    f"backbone {self.name!r} has no layer {layer} of {self.side}; it has "
                    f"{', '.join(map(str, sorted(self.layers)))}"
                )
        chosen = [self.row[key] for key in keys]
        pooled, *means = (
            torch.from_numpy(np.array(rows[chosen], dtype=np.float32))
            for rows in (self.rows, *(self.layers[layer] for layer in layers))
        )
        return Features(pooled, layers=torch.stack(means, dim=1) if means else None)


def _array(path: Path, keys: Sequence[str], name: str, digest: Any) -> Any:
    """Return the numbers of a file, a row for each key, and add them to a digest."""
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FdrdError(f"backbone {name!r}: {path.name} cannot be read ({error})") from error
    if rows.ndim != 2 or len(rows) != len(keys) or rows.dtype.kind != "f":
        side = path.name.partition(".")[0]
        raise FdrdError(
            f"backbone {name!r}: {path.name} must have a row of floating-point numbers for each "
            f"string in {side}.json"
        )
    with np.errstate(over="ignore"):  # a float64 may be too large for float32
        finite = np.isfinite(rows.astype(np.float32)).all(axis=1)
    if not finite.all():
        raise FdrdError(
            f"backbone {name!r}: {path.name} has NaN or infinite numbers in "
            f"{np.count_nonzero(~finite)} of {len(rows)} rows, e.g. that of "
            f"{keys[int(finite.argmin())]!r}; compute these features again"
        )
    digest.update(np.ascontiguousarray(rows).data)
    return rows


@torch.no_grad()
def write_features(
    backbone: Encoder, datasets: Iterable[RetrievalDataset], out: Path, progress: Progress = silent
) -> Path:
    """Write the features of all images, captions and hard negatives of some splits.

    Raises:
        FdrdError: `out` is occupied, or an image does not match its digest.
    """
    with atomic_folder(out) as folder:  # refuse an occupied folder before the slow part
        images: dict[str, Tensor] = {}
        captions: dict[str, None] = {}
        for dataset in datasets:
            every = Images.of(dataset)
            for start in range(0, len(every), BATCH):
                some = every[start : start + BATCH]
                pooled = backbone.encode_image(some).pooled.cpu()
                images.update(zip(digests(some), pooled, strict=True))
                progress(f"encode images of {dataset.split}", start + len(some), len(every))
            captions.update(dict.fromkeys(dataset.captions))
            for negatives in dataset.negatives:
                captions.update(dict.fromkeys(negative.caption for negative in negatives))
        texts = list(captions)
        rows: list[Tensor] = []
        for start in range(0, len(texts), BATCH):
            rows += backbone.encode_text(texts[start : start + BATCH]).pooled.cpu()
            progress("encode captions", len(rows), len(texts))
        for side, keys, vectors in (
            ("images", list(images), list(images.values())),
            ("texts", texts, rows),
        ):
            with (folder / f"{side}.npy").open("wb") as file:
                # With the file itself, numpy writes by `tofile`, whose error on a full disk has no number.
                np.save(SimpleNamespace(write=file.write), torch.stack(vectors).numpy())
            text = json.dumps(keys, ensure_ascii=False)
            (folder / f"{side}.json").write_text(text, encoding="utf-8")
    return out
