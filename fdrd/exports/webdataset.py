"""Tar shards in the format of `clip_benchmark`.

    <out>/<domain>/dataset_type.txt                            `retrieval`; absent for classification
    <out>/<domain>/classnames.txt, zeroshot_classification_templates.txt     for classification
    <out>/<domain>/<split>/nshards.txt, 0.tar, 1.tar, ...

Each sample is a distinct image: its file, its captions (`.txt`, one per line) or its category number (`.cls`), and
its rows with attributes and hard negatives (`.json`). Each domain is a root, and so a gallery, as in `fdrd bench`.
The format is defined by `build_wds_dataset` in `datasets/builder.py` of clip_benchmark 1.6.2.

Images keep the bytes of their files. An image is converted to PNG only if a reader that supports JPEG, PNG, and WebP
alone, ignores EXIF orientation, and drops transparency would show it differently.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fdrd.dataset import RetrievalDataset, load_splits
from fdrd.errors import FdrdError
from fdrd.files.atomic import atomic_folder
from fdrd.images.pixels import display_rules
from fdrd.progress import Progress, silent

Sample = dict[str, bytes]
"""Files of a sample by extension."""
Task = Literal["zeroshot_retrieval", "zeroshot_classification"]

_MIN_SHARDS = 4  # clip_benchmark reads with four workers, and fails if one has no shard
_MAX_IMAGES = 10_000  # per shard, as in clip_benchmark's own exporter
_TEMPLATE = "a photo of a {c}."
_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
_CONVERSIONS = {"image_turned", "image_on_white", "image_made_8_bit"}
"""Conversions that a reader with a plain `convert("RGB")` does not apply."""
_BATCH = 64


@dataclass(frozen=True)
class ExportedSplit:
    """Counts of one split of one domain."""

    domain: str
    split: str
    images: int
    captions: int
    shards: int


def export(
    data: str | Path,
    out: str | Path,
    *,
    to: Literal["webdataset"] = "webdataset",
    task: Task = "zeroshot_retrieval",
    split: str | None = None,
    domain: str | None = None,
    shard_bytes: int = 10**9,
    progress: Progress = silent,
) -> list[ExportedSplit]:
    """Write a dataset in another tool's format. The same dataset gives the same bytes.

    Args:
        data: folder, registered name, or Hub id.
        out: new or empty folder; a failed export leaves nothing behind.
        to: the format; `webdataset` is tar shards for clip_benchmark.
        task: captions for retrieval, or class names for classification.
        split: only this split.
        domain: only this domain.
        shard_bytes: close a shard at this size.
        progress: called with the number of images.

    Raises:
        FdrdError: the format, dataset, split, or domain does not exist, or `out` is not empty.
    """
    if to != "webdataset":
        raise FdrdError(f"unknown export format {to!r}; choose webdataset")
    with atomic_folder(Path(out)) as stage:  # checked before loading, which takes time
        domains: dict[str, list[RetrievalDataset]] = {}
        for view in load_splits(data, split, domain):
            for name in view.domains if domain is None else [domain]:
                domains.setdefault(name, []).append(view.of_domain(name))
        found = []
        for name, views in sorted(domains.items()):
            found += _write_domain(stage / _folder(name), name, views, task, shard_bytes, progress)
    return found


def _write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    task: Task,
    shard_bytes: int,
    progress: Progress,
) -> list[ExportedSplit]:
    folder.mkdir()
    if task != "zeroshot_retrieval":
        for view in views:
            view.require_categories(f"--task {task}")
    categories = np.unique(np.concatenate([view.row_category for view in views]))
    numbers = {int(category): number for number, category in enumerate(categories)}
    if task == "zeroshot_retrieval":
        _write(folder / "dataset_type.txt", "retrieval")
    else:
        names = [views[0].categories[each].removeprefix(f"{domain}: ") for each in categories]
        _write(folder / "classnames.txt", "\n".join(names))
        _write(folder / "zeroshot_classification_templates.txt", _TEMPLATE)
    written = []
    for view in views:
        target, images = folder / view.split, len(view.image_digests)
        target.mkdir()
        samples = _samples(view, None if task == "zeroshot_retrieval" else numbers)
        stage = f"export {domain} {view.split}"
        shards = _write_shards(target, samples, images, shard_bytes, stage, progress)
        progress(stage, images, images)
        _write(target / "nshards.txt", str(shards))
        written.append(ExportedSplit(domain, view.split, images, len(view), shards))
    return written


def _samples(view: RetrievalDataset, numbers: dict[int, int] | None) -> Iterator[Sample]:
    """Yield the distinct images in order, with their captions or, given `numbers`, their class."""
    rows_of: list[list[int]] = [[] for _ in view.image_digests]
    for row, image in enumerate(view.pairs[:, 0].tolist()):
        rows_of[image].append(row)
    for start in range(0, len(rows_of), _BATCH):
        batch = range(start, min(start + _BATCH, len(rows_of)))
        for image, file in zip(batch, view.files(batch), strict=True):
            extension, content = _readable(file, view, image)
            records = view.records(rows_of[image])
            captions = [" ".join(record["caption"].splitlines()) for record in records]
            text = json.dumps({"rows": records}, ensure_ascii=False, sort_keys=True)
            sample = {extension: content, "json": text.encode("utf-8", "backslashreplace")}
            if numbers is None:
                sample["txt"] = "\n".join(captions).encode("utf-8", "backslashreplace")
            else:
                sample["cls"] = str(numbers[int(view.image_category[image])]).encode()
            yield sample


def _readable(file: bytes, view: RetrievalDataset, number: int) -> tuple[str, bytes]:
    """Return extension and bytes that any reader decodes to the image in the dataset."""
    with Image.open(io.BytesIO(file)) as image:
        extension = _EXTENSIONS.get(image.format or "")
        unchanged = not _CONVERSIONS.intersection(display_rules(image))
    if extension and unchanged:
        return extension, file
    png = io.BytesIO()
    view.images([number])[0].save(png, "PNG")
    return "png", png.getvalue()


def _write_shards(
    folder: Path,
    samples: Iterator[Sample],
    total: int,
    shard_bytes: int,
    stage: str,
    progress: Progress,
) -> int:
    """Write about as many samples to each shard, in order; return the number of shards."""
    parts = max(min(_MIN_SHARDS, total), -(-total // _MAX_IMAGES))
    shards, part = 0, -1
    tar: tarfile.TarFile | None = None
    with ExitStack() as stack:
        for number, sample in enumerate(samples):
            progress(stage, number, total)
            if tar is None or number * parts // total != part or tar.offset >= shard_bytes:
                stack.close()
                name, part = folder / f"{shards}.tar", number * parts // total
                tar = stack.enter_context(tarfile.open(name, "w", format=tarfile.USTAR_FORMAT))
                shards += 1
            for extension, content in sorted(sample.items()):
                entry = tarfile.TarInfo(f"{number:07d}.{extension}")  # time 0 and owner 0
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return shards


def _folder(domain: str) -> str:
    """Return a domain name from an untrusted dataset if it is safe as a folder name."""
    if domain in ("", ".", "..") or any(mark in domain for mark in "/\\\0"):
        raise FdrdError(f"the domain name {domain!r} cannot be used as a folder name")
    return domain


def _write(path: Path, text: str) -> None:
    path.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))
