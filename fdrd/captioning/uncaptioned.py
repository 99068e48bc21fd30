"""The images of a source that have no caption, and the pairs that have one: the input of a captioning run."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from fdrd.engines import open_engine
from fdrd.errors import FdrdError
from fdrd.files.paths import cache_folder
from fdrd.images.check import FORMATS, read_image
from fdrd.images.containers import path_in_source
from fdrd.images.pixels import upright_rgb
from fdrd.pipeline.collect import checked_source
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, id_in_domain
from fdrd.sources import Domain, find_domains, read_domain, unused_text

_SMALL_SOURCE = 512  # images; starting worker processes takes longer than decoding these


def load_image(root: str, image: ImageRef, max_side: int = 0, sha256: str = "") -> Image.Image:
    """Decode an image below a root as the benchmark does: upright, RGB, transparent pixels on white.

    `max_side` is the maximum width and height in pixels; 0 for no limit. `sha256` is the expected digest, if known.
    Raise `OSError` if the image cannot be read or decoded, or has another digest.
    """
    data = read_image(root, image)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise OSError(f"{image} changed since it was checked; run the command again")
    with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
        pixels = upright_rgb(opened)
    if max_side and max(pixels.size) > max_side:
        pixels.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return pixels


@dataclass(frozen=True, slots=True)
class UncaptionedImage:
    """An image that needs a caption: source root, record without a caption, digest of the image bytes."""

    root: str
    record: Record
    sha256: str

    @property
    def path(self) -> str:
        """Path below the source root, as if archives were unpacked."""
        return path_in_source(self.record.image)

    def load(self, max_side: int = 0) -> Image.Image:
        """Decode the image; see `load_image`."""
        return load_image(self.root, self.record.image, max_side, self.sha256)


@dataclass(frozen=True, slots=True)
class CaptionSource:
    """A source to caption: images without a caption, pairs that have one, and unusable images and annotations.

    `categories` are the sorted category names of each domain. `folders` has the folder of each domain below the root;
    `.` for the root itself.
    """

    images: tuple[UncaptionedImage, ...]
    captioned: tuple[Record, ...]
    rejected: tuple[Rejection, ...]
    categories: dict[str, tuple[str, ...]] = field(repr=False)
    folders: dict[str, str]

    def sample(self, count: int | None) -> tuple[UncaptionedImage, ...]:
        """Return a fixed sample of the images, chosen by digest; None for all of them."""
        if count is None or count >= len(self.images):
            return self.images
        chosen = sorted(self.images, key=lambda image: (image.sha256, image.path))[:count]
        return tuple(sorted(chosen, key=lambda image: image.path))


def find_uncaptioned(
    root: Path, max_pixels: int = 50_000_000, progress: Progress = silent
) -> CaptionSource:
    """Find every image of a source that no pair describes, in path order.

    Raise `FdrdError` if the layout of the source is unknown, or every image has a caption.
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
    wanted = sorted(bare.keys() - {pair.image for pair in pairs}, key=attrgetter("path", "member"))
    if not wanted:
        counts = f"{len(pairs):,} pairs, {len(rejected):,} rejections"
        raise FdrdError(f"{root}: every image has a caption ({counts}); use `fdrd build` directly")
    images = []
    records = [bare[image] for image in wanted]
    _require_categories(root, records, domains)
    _require_keys(root, (*pairs, *records))
    workers = None if len(wanted) > _SMALL_SOURCE else 1
    with TemporaryDirectory() as name, open_engine("local", workers) as engine:
        work, total = Path(name), len(wanted)
        ledger = _ledger(root, work)
        checked = checked_source(work, root, records, max_pixels, engine, progress, ledger, total)
        with checked as contents:
            checks = {each.image: each.check for each in contents.images}
    for record in records:
        check = checks[record.image]
        if check.reason:
            path, member = record.image.path, record.image.member
            rejected.append(Rejection(path, member, check.reason, f"{path}: {check.detail}"))
        else:
            images.append(UncaptionedImage(str(root), record, check.sha256))
    names: dict[str, set[str]] = {}
    for record in (*pairs, *(image.record for image in images)):
        names.setdefault(record.domain, set()).add(record.category)
    categories = {domain: tuple(sorted(found)) for domain, found in names.items()}
    folders = {domain.name: domain.path for domain in domains}
    return CaptionSource(tuple(images), tuple(pairs), tuple(rejected), categories, folders)


def _require_categories(root: Path, records: Sequence[Record], domains: Sequence[Domain]) -> None:
    """Raise `FdrdError` if images have no category: captions would name a folder that is not one."""
    missing = [record for record in records if not record.category]
    if missing:
        counts = f"{len(missing):,} of {len(records):,} images have no category"
        remedy = "give it in domain.toml with category = or category_from ="
        why = f"{counts}, which a caption has to name, e.g. {missing[0].image}"
        raise FdrdError(f"{root}: {why}; {remedy}{unused_text(root, domains)}")


def _require_keys(root: Path, records: Iterable[Record]) -> None:
    """Raise `FdrdError` if two records have one id, the key of a caption: one would replace the other."""
    first: dict[str, Record] = {}
    for record in records:
        other = first.setdefault(record.id, record)
        if other is not record:
            both = f"{other.source.origin} and {record.source.origin} have the id"
            remedy = "which would be the key of both captions; give each its own"
            raise FdrdError(f"{root}: {both} {id_in_domain(record)!r}, {remedy}")


def _ledger(root: Path, instead: Path) -> Path:
    """Return the file that remembers image checks of a folder; in `instead` where the cache cannot be written."""
    name = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    file = cache_folder() / "captioning" / f"{name}.jsonl"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError:
        return instead / "checks.jsonl"
    return file
