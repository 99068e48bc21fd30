"""Pictures of a source that lack a caption, and the pairs that have one: what a run of captioning begins with."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from fdrd.engines import open_engine
from fdrd.errors import FdrdError
from fdrd.files.cache import cache_folder
from fdrd.images.check import FORMATS, ImageCheck, read_image
from fdrd.images.pixels import upright_rgb
from fdrd.pipeline.collect import CheckTask, run_check_task
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record
from fdrd.sources import find_domains, read_domain
from fdrd.storage.ledger import append_ledger, read_ledger, stamp

_CHUNK = 32  # pictures that a worker process looks at in one go
_FEW = 16  # such chunks


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that wants a caption: its record without one, below the folder `root`, and the digest of its bytes."""

    root: str
    record: Record
    sha256: str

    @property
    def path(self) -> str:
        """Where it lies, below the source root."""
        return self.record.image.path

    def upright(self, max_side: int = 0) -> Image.Image:
        """The picture as people see it, RGB, with no side longer than `max_side` pixels (0: as it is).

        Raises:
            OSError: it cannot be read or decoded.
        """
        with Image.open(
            io.BytesIO(read_image(self.root, self.record.image)), formats=FORMATS
        ) as image:
            upright = upright_rgb(image)
        if max_side and max(upright.size) > max_side:
            upright.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
        return upright


@dataclass(frozen=True, slots=True)
class Found:
    """What a source holds: pictures without captions, pairs that have one, and what is wrong with the rest."""

    pictures: tuple[Picture, ...]
    given: tuple[Record, ...]
    rejected: tuple[Rejection, ...]
    categories: dict[str, tuple[str, ...]] = field(repr=False)
    """Names of the categories of each domain, sorted."""
    folders: dict[str, str]
    """Where each domain lies below the source root: `.` for the root itself."""


def find_pictures(
    root: Path, max_pixels: int, workers: int | None = None, progress: Progress = silent
) -> Found:
    """Every picture of a source that no pair describes, in the order of their paths.

    Raises:
        FdrdError: the folder is in no layout that fdrd reads, or no picture in it lacks a caption.
    """
    pairs: list[Record] = []
    bare: dict[ImageRef, Record] = {}
    rejected: list[Rejection] = []
    domains = find_domains(root)
    for domain in domains:
        for item in read_domain(root, domain, require_captions=False):
            if isinstance(item, Rejection):
                rejected.append(item)
            elif item.caption:
                pairs.append(item)
            else:
                bare.setdefault(item.image, item)
    described = {pair.image for pair in pairs}
    wanted = sorted(bare.keys() - described, key=lambda image: (image.path, image.member))
    if not wanted:
        raise FdrdError(
            f"{root}: no picture lacks a caption ({len(pairs):,} pairs, {len(rejected):,} rejections); "
            "`fdrd build` builds it as it is"
        )
    pictures = []
    for image, examined in _examine(root, wanted, max_pixels, workers, progress):
        if examined.reason:
            detail = f"{image.path}: {examined.detail}"
            rejected.append(Rejection(image.path, image.member, examined.reason, detail))
        else:
            pictures.append(Picture(str(root), bare[image], examined.sha256))
    names: dict[str, set[str]] = {}
    for record in (*pairs, *(picture.record for picture in pictures)):
        names.setdefault(record.domain, set()).add(record.category)
    categories = {domain: tuple(sorted(found)) for domain, found in names.items()}
    folders = {domain.name: domain.path for domain in domains}
    return Found(tuple(pictures), tuple(pairs), tuple(rejected), categories, folders)


def _examine(
    root: Path, images: list[ImageRef], max_pixels: int, workers: int | None, progress: Progress
) -> Iterator[tuple[ImageRef, ImageCheck]]:
    """What each image is worth, in their order; one that did not change since an earlier run is not decoded again."""
    ledger = _ledger_of(root)
    known = read_ledger(ledger)
    stamps = {image: stamp(root, image) for image in images}
    found = {
        image: known[image][1]
        for image in images
        if image in known and known[image][0] == stamps[image]
    }
    fresh = [image for image in images if image not in found]
    for image, examined in _look(root, fresh, max_pixels, workers, progress):
        found[image] = examined
    append_ledger(ledger, ((image, stamps[image], found[image]) for image in fresh))
    yield from ((image, found[image]) for image in images)


def _ledger_of(root: Path) -> Path:
    """Where it is kept what the pictures of a folder were worth; losing it costs time only."""
    name = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    folder = cache_folder() / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.jsonl"


def _look(
    root: Path, images: list[ImageRef], max_pixels: int, workers: int | None, progress: Progress
) -> Iterator[tuple[ImageRef, ImageCheck]]:
    tasks = [
        CheckTask(str(root), max_pixels, images[start : start + _CHUNK])
        for start in range(0, len(images), _CHUNK)
    ]
    if len(tasks) < _FEW:
        workers = 1  # starting processes takes longer than looking at some hundred pictures
    done = 0
    with open_engine("local", workers) as engine:
        for task, (found, _) in zip(tasks, engine.run(run_check_task, tasks), strict=True):
            yield from zip(task.images, found, strict=True)
            done += len(found)
            progress("Looked at pictures", done, len(images))
