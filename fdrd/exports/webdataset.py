"""A dataset as tar shards in the form that `clip_benchmark` reads, so that its users measure on it.

    <out>/<domain>/dataset_type.txt                            `retrieval`; absent for classification
    <out>/<domain>/classnames.txt, zeroshot_classification_templates.txt     for classification
    <out>/<domain>/<split>/nshards.txt, 0.tar, 1.tar, ...

A sample is a distinct image: its file, its captions (`.txt`, one a line) or the number of its
category (`.cls`), and its rows with attributes and hard negatives (`.json`). A root for each domain
makes each domain a gallery, as in `fdrd bench`. Read in clip_benchmark 1.6.2,
`datasets/builder.py:build_wds_dataset`.

An image keeps the bytes of its file, but where a reader that knows JPEG, PNG and WebP alone, turns
nothing upright and puts nothing on white would see another picture: that one is written as PNG.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from fdrd.dataset import RetrievalDataset, load_splits
from fdrd.errors import FdrdError
from fdrd.files.atomic import new_folder
from fdrd.images.pixels import rules_of
from fdrd.progress import Progress, silent

Sample = dict[str, bytes]
"""Content of each file of a sample, by ending."""

Task = Literal["zeroshot_retrieval", "zeroshot_classification"]
"""What clip_benchmark calls its tasks."""

LEAST_SHARDS = 4
"""clip_benchmark reads with four workers by default, and fails where one of them finds no shard."""

MOST_IMAGES = 10_000
"""of a shard, as clip_benchmark's own exporter writes them"""

_TEMPLATE = "a photo of a {c}."
_ENDINGS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
_SEEN_OTHERWISE = {"image_turned", "image_on_white", "image_made_8_bit"}
"""What a reader does not do that knows nothing but `convert("RGB")`."""

_BATCH = 64


@dataclass(frozen=True)
class Written:
    """One split of one domain."""

    domain: str
    split: str
    images: int
    captions: int
    shards: int


def export_webdataset(
    data: str | Path,
    out: Path,
    *,
    task: Task = "zeroshot_retrieval",
    split: str | None = None,
    domain: str | None = None,
    shard_bytes: int = 10**9,
    progress: Progress = silent,
) -> list[Written]:
    """Write all splits of all domains, or one of them. The same dataset gives the same bytes.

    Args:
        data: folder, registered name or Hub id.
        out: a new or empty folder; it is there when all is written, or not at all.
        task: of clip_benchmark.
        split: only this one.
        domain: only this one.
        shard_bytes: a shard is closed when it holds so much.
        progress: told about images.

    Raises:
        FdrdError: there is no such dataset, split or domain, or `out` holds something.
    """
    with new_folder(out) as stage:  # checked first: loading takes time
        views = [
            view.of_domain(name)
            for view in load_splits(data, split, domain)
            for name in view.domains
            if domain in (None, name)
        ]
        found = []
        for name in sorted({view.domains[0] for view in views}):
            own = [view for view in views if view.domains == [name]]
            found += _write_domain(stage / _folder(name), name, own, task, shard_bytes, progress)
    return found


def _write_domain(
    folder: Path,
    domain: str,
    views: Sequence[RetrievalDataset],
    task: Task,
    shard_bytes: int,
    progress: Progress,
) -> list[Written]:
    folder.mkdir()
    present = np.unique(np.concatenate([view.row_category for view in views]))
    class_number = {int(category): number for number, category in enumerate(present)}
    if task == "zeroshot_retrieval":
        _write(folder / "dataset_type.txt", "retrieval")
    else:
        named = [views[0].categories[category] for category in present]
        names = [name.removeprefix(f"{domain}: ") for name in named]
        _write(folder / "classnames.txt", "\n".join(names))
        _write(folder / "zeroshot_classification_templates.txt", _TEMPLATE)
    written = []
    for view in views:
        target = folder / view.split
        target.mkdir()
        samples = _samples(view, None if task == "zeroshot_retrieval" else class_number)
        images = len(view.image_digests)
        told = _told(samples, f"export {domain} {view.split}", images, progress)
        shards = _write_shards(target, told, images, shard_bytes)
        _write(target / "nshards.txt", str(shards))
        written.append(Written(domain, view.split, images, len(view), shards))
    return written


def _told(
    samples: Iterable[Sample], stage: str, total: int, progress: Progress
) -> Iterator[Sample]:
    for done, sample in enumerate(samples):
        progress(stage, done, total)
        yield sample
    progress(stage, total, total)


def _samples(view: RetrievalDataset, class_number: dict[int, int] | None) -> Iterator[Sample]:
    """The distinct images in order, each with its captions or with the number of its class."""
    rows_of: list[list[int]] = [[] for _ in view.image_digests]
    for row, image in enumerate(view.pairs[:, 0].tolist()):
        rows_of[image].append(row)
    for start in range(0, len(rows_of), _BATCH):
        numbers = range(start, min(start + _BATCH, len(rows_of)))
        for number, file in zip(numbers, view.files(numbers), strict=True):
            ending, content = _readable(file, view, number)
            records = view.records(rows_of[number])
            captions = [" ".join(record["caption"].splitlines()) for record in records]
            text = json.dumps({"rows": records}, ensure_ascii=False, sort_keys=True)
            sample = {ending: content, "json": text.encode("utf-8", "backslashreplace")}
            if class_number is None:
                sample["txt"] = "\n".join(captions).encode("utf-8", "backslashreplace")
            else:
                sample["cls"] = str(class_number[int(view.image_category[number])]).encode()
            yield sample


def _readable(file: bytes, view: RetrievalDataset, number: int) -> tuple[str, bytes]:
    """The ending and bytes that a simple reader decodes to the picture that the dataset shows."""
    with Image.open(io.BytesIO(file)) as image:
        ending = _ENDINGS.get(image.format or "")
        as_it_is = not _SEEN_OTHERWISE.intersection(rules_of(image))
    if ending and as_it_is:
        return ending, file
    png = io.BytesIO()
    view.images([number])[0].save(png, "PNG")
    return "png", png.getvalue()


def _write_shards(folder: Path, samples: Iterable[Sample], total: int, shard_bytes: int) -> int:
    """Write the samples in order, about as many to each shard; how many shards there are."""
    parts = max(min(LEAST_SHARDS, total), -(-total // MOST_IMAGES))
    shards = 0
    rest = enumerate(samples)
    following = next(rest, None)
    while following is not None:
        part = following[0] * parts // total
        name = folder / f"{shards}.tar"
        with tarfile.open(name, "w", format=tarfile.USTAR_FORMAT) as archive:
            while following is not None and following[0] * parts // total == part:
                if archive.offset >= shard_bytes:
                    break
                number, sample = following
                for ending, content in sorted(sample.items()):
                    entry = tarfile.TarInfo(f"{number:07d}.{ending}")  # of time 0 and owner 0
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
                following = next(rest, None)
        shards += 1
    return shards


def _folder(domain: str) -> str:
    """The domain's name, which a dataset from elsewhere decides, as the name of a folder."""
    if domain in ("", ".", "..") or any(mark in domain for mark in "/\\\0"):
        raise FdrdError(f"the domain {domain!r} cannot be the name of a folder")
    return domain


def _write(path: Path, text: str) -> None:
    path.write_bytes(f"{text}\n".encode("utf-8", "backslashreplace"))
