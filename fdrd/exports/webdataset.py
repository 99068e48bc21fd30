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

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from fdrd.dataset import RetrievalDataset
from fdrd.exports.writing import DomainExport, Sample, plain_category, samples, write_text
from fdrd.images.check import opened_image
from fdrd.images.pixels import display_rules
from fdrd.progress import Progress

Files = dict[str, bytes]  # files of a sample by extension

_MIN_SHARDS = 4  # clip_benchmark reads with four workers, and fails if one has no shard
_MAX_IMAGES = 10_000  # per shard, as in clip_benchmark's own exporter
_TEMPLATE = "a photo of a {c}."
_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp"}
_CONVERSIONS = {"image_turned", "image_on_white", "image_made_8_bit"}
"""Conversions that a reader with a plain `convert("RGB")` does not apply."""
NOT_CARRIED = "Images that clip_benchmark would decode differently are converted to PNG, so their digests change."


def write_domain(export: DomainExport) -> None:
    """Write `<split>/*.tar` and the files that name task and classes."""
    folder, domain, task, views = export.folder, export.domain, export.task, export.views
    if task != "zeroshot_retrieval":
        for view in views:
            view.require_categories(f"`task` {task}")
    categories = np.unique(np.concatenate([view.row_category for view in views]))
    classes = {int(category): index for index, category in enumerate(categories)}
    if task == "zeroshot_retrieval":
        write_text(folder / "dataset_type.txt", ["retrieval", "\n"])
    else:
        names = [plain_category(views[0].categories[each], domain) for each in categories]
        write_text(folder / "classnames.txt", ["\n".join(names), "\n"])
        write_text(folder / "zeroshot_classification_templates.txt", [_TEMPLATE, "\n"])
    for view in views:
        target = folder / view.split
        target.mkdir()
        labels = None if task == "zeroshot_retrieval" else classes
        files = _samples(view, domain, labels, export.progress)
        shards = _write_shards(target, files, len(view.image_digests), export.shard_bytes)
        write_text(target / "nshards.txt", [str(shards), "\n"])


def _samples(
    view: RetrievalDataset, domain: str, classes: dict[int, int] | None, progress: Progress
) -> Iterator[Files]:
    """Yield the distinct images in order, with their captions or, with `classes`, their class."""
    for sample in samples(view, domain, progress):
        extension, content = _readable(sample, view)
        text = json.dumps({"rows": sample.rows}, ensure_ascii=False, sort_keys=True)
        files = {extension: content, "json": text.encode("utf-8", "backslashreplace")}
        if classes is None:
            files["txt"] = "\n".join(sample.captions).encode("utf-8", "backslashreplace")
        else:
            files["cls"] = str(classes[int(view.image_category[sample.index])]).encode()
        yield files


def _readable(sample: Sample, view: RetrievalDataset) -> tuple[str, bytes]:
    """Return extension and bytes that any reader decodes to the image in the dataset."""
    with opened_image(sample.file, sample.origin) as image:
        extension = _EXTENSIONS.get(image.format or "")
        unchanged = not _CONVERSIONS.intersection(display_rules(image))
    if extension and unchanged:
        return extension, sample.file
    png = io.BytesIO()
    view.images([sample.index])[0].save(png, "PNG")
    return "png", png.getvalue()


def _write_shards(folder: Path, samples: Iterator[Files], total: int, shard_bytes: int) -> int:
    """Write about as many samples to each shard, in order; return the number of shards."""
    parts = max(min(_MIN_SHARDS, total), -(-total // _MAX_IMAGES))
    shards, part = 0, -1
    tar: tarfile.TarFile | None = None
    with ExitStack() as stack:
        for index, sample in enumerate(samples):
            if tar is None or index * parts // total != part or tar.offset >= shard_bytes:
                stack.close()
                name, part = folder / f"{shards}.tar", index * parts // total
                tar = stack.enter_context(tarfile.open(name, "w", format=tarfile.USTAR_FORMAT))
                shards += 1
            for extension, content in sorted(sample.items()):
                entry = tarfile.TarInfo(f"{index:07d}.{extension}")  # time 0 and owner 0
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return shards
