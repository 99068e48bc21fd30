"""Stored features as an encoder: `features:FOLDER`, so that the features of any system can be ranked and adapted.

| file | content |
|---|---|
| `images.npy` | (I, d) numbers, one row per image |
| `images.json` | list of I strings, the SHA-256 of each image file |
| `texts.npy` | (T, d) numbers, one row per caption |
| `texts.json` | list of T strings, the captions |

Rows need not have unit length. Nothing is unpickled. `fdrd export --to features` writes such a folder for any backbone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmark.models.backbone import Encoder
from benchmark.models.encoder_options import EncoderSetup
from benchmark.models.image_batches import AnyImages, Images, digests
from benchmark.models.plain_encoder import PlainEncoder
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
    sides: dict[str, tuple[dict[str, int], Any]] = {}
    for side in ("images", "texts"):
        try:
            rows = np.load(folder / f"{side}.npy", mmap_mode="r", allow_pickle=False)
            keys = json.loads((folder / f"{side}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise FdrdError(f"backbone {name!r}: {side} cannot be read ({error})") from error
        fits = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not fits or rows.ndim != 2 or len(rows) != len(keys) or rows.dtype.kind != "f":
            raise FdrdError(
                f"backbone {name!r}: {side}.npy must have a row of floating-point numbers for each "
                f"string in {side}.json"
            )
        with np.errstate(over="ignore"):  # a float64 may be too large for float32
            finite = np.isfinite(rows.astype(np.float32)).all(axis=1)
        if not finite.all():
            raise FdrdError(
                f"backbone {name!r}: {side}.npy has NaN or infinite numbers in "
                f"{np.count_nonzero(~finite)} of {len(rows)} rows, e.g. that of "
                f"{keys[int(finite.argmin())]!r}; compute these features again"
            )
        sides[side] = {key: row for row, key in enumerate(keys)}, rows
        digest.update(np.ascontiguousarray(rows).data)
        digest.update(json.dumps(keys).encode())
    widths = {rows.shape[1] for _, rows in sides.values()}
    if len(widths) > 1:
        raise FdrdError(f"backbone {name!r}: images and texts have {sorted(widths)} dimensions")

    def found(side: str, keys: Sequence[str]) -> Tensor:
        known, rows = sides[side]
        missing = [key for key in keys if key not in known]
        if missing:
            raise FdrdError(
                f"backbone {name!r} has no features of {len(missing)} of {len(keys)} {side}, e.g. "
                f"{missing[0]!r}; add them to {side}.npy and {side}.json"
            )
        return torch.from_numpy(np.array(rows[[known[key] for key in keys]], dtype=np.float32))

    def encode_images(images: AnyImages) -> Tensor:
        return found("images", digests(images))

    return PlainEncoder(
        encode_images,
        lambda captions: found("texts", captions),
        name=name,
        fingerprint=digest.hexdigest(),
        dim=widths.pop(),
        device=setup["device"],
    )


@torch.no_grad()
def write_features(
    backbone: Encoder,
    datasets: Iterable[RetrievalDataset],
    out: Path,
    progress: Progress = silent,
) -> Path:
    """Write the features of all images, captions and hard negatives of some splits.

    Args:
        backbone: encodes them.
        datasets: splits.
        out: a new or empty folder.
        progress: called with the number of rows.

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
        rows = []
        for start in range(0, len(texts), BATCH):
            rows.append(backbone.encode_text(texts[start : start + BATCH]).pooled.cpu())
            progress("encode captions", len(texts[: start + BATCH]), len(texts))
        _save(folder / "images.npy", torch.stack(list(images.values())).numpy())
        _save(folder / "texts.npy", torch.cat(rows).numpy())
        for side, keys in (("images", list(images)), ("texts", texts)):
            text = json.dumps(keys, ensure_ascii=False)
            (folder / f"{side}.json").write_text(text, encoding="utf-8")
    return out


def _save(path: Path, rows: npt.NDArray[np.float32]) -> None:
    with path.open("wb") as file:
        # With the file itself, numpy writes by `tofile`, whose error on a full disk has no number.
        np.save(SimpleNamespace(write=file.write), rows)
