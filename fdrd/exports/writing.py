"""Write a dataset in one of the `FORMATS`: a folder for each domain, complete or not at all."""

from __future__ import annotations

from pathlib import Path

from fdrd.dataset import Name, RetrievalDataset, load_splits
from fdrd.errors import FdrdError
from fdrd.exports.formats import ExportedSplit, FormatName, Task, format_module
from fdrd.exports.samples import DomainExport
from fdrd.files.atomic import atomic_folder
from fdrd.files.names import domain_folder
from fdrd.pipeline.locking import disk_errors
from fdrd.progress import Progress, silent


def export(
    data: Name,
    out: str | Path,
    *,
    to: FormatName = "parquet",
    task: Task = "zeroshot_retrieval",
    split: str | None = None,
    domain: str | None = None,
    shard_bytes: int = 10**9,
    progress: Progress = silent,
) -> list[ExportedSplit]:
    """Write a dataset in another tool's format. The same dataset gives the same bytes.

    Args:
        data: a dataset: path, registered name, Hub id, or a `Dataset`.
        out: new or empty folder; a failed export leaves nothing behind.
        to: name of a format in `fdrd.exports.formats.FORMATS`.
        task: task of the export: captions for retrieval or, in `webdataset` only, class names for classification.
        split: the only split to export.
        domain: the only domain to export.
        shard_bytes: size at which `webdataset` closes a shard.
        progress: called with the number of images.

    Raises:
        FdrdError: the format, dataset, split, or domain does not exist, the dataset is damaged, `out` is not empty,
            or the disk is full.
    """
    form = format_module(to)
    if task != "zeroshot_retrieval" and to != "webdataset":
        raise FdrdError(f"`task` {task} is for `to` webdataset; leave it out with `to` {to}")
    # The folder is checked before loading, which takes time.
    with disk_errors(Path(out)), atomic_folder(Path(out)) as stage:
        domains: dict[str, list[RetrievalDataset]] = {}
        for view in load_splits(data, split, domain):
            for name in view.domains if domain is None else [domain]:
                domains.setdefault(name, []).append(view.of_domain(name))
        counts = []
        for name, views in sorted(domains.items()):
            folder = stage / domain_folder(name)
            folder.mkdir()
            form.write_domain(DomainExport(folder, name, views, progress, task, shard_bytes))
            counts += [_count(folder, name, view) for view in views]
    return counts


def _count(folder: Path, domain: str, view: RetrievalDataset) -> ExportedSplit:
    shards = len(list((folder / view.split).glob("*.tar")))
    return ExportedSplit(domain, view.split, len(view.image_digests), len(view), shards)
