"""Records to audit: those of a built dataset, or those of raw annotations without their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from fdrd.curation.source_contents import annotation_file
from fdrd.errors import FdrdError
from fdrd.negatives.draw import make_catalogs, with_given
from fdrd.record import Record
from fdrd.sources import find_domains, read_domain
from fdrd.storage.manifest import read_manifest
from fdrd.storage.manifest_types import Manifest
from fdrd.storage.shards import read_records

AuditInput = tuple[list[Record], dict[str, int]]
"""records, and how often each normalization rule was applied to them"""


def dataset_records(folder: Path) -> AuditInput:
    """Return the records of a built dataset, by domain."""
    manifest = read_manifest(folder)
    return list(named_records(folder, manifest)), manifest.rules


def named_records(folder: Path, manifest: Manifest) -> Iterator[Record]:
    """Yield the records of a built dataset with their categories as the captions name them.

    Where domains share a category, its class label starts with the domain (`fdrd.record.class_labels`).
    """
    for record in read_records(folder, manifest):
        prefix = f"{record.domain}: "
        negatives = (
            replace(negative, category=negative.category.removeprefix(prefix))
            for negative in record.negatives
        )
        category = record.category.removeprefix(prefix)
        yield replace(record, category=category, negatives=tuple(negatives))


def source_records(root: Path) -> AuditInput:
    """Return the records of raw annotations, with the annotation file as the domain.

    Raises:
        FdrdError: no layout is recognized, or it has no records.
    """
    found = (item for domain in find_domains(root) for item in read_domain(root, domain, False))
    records = [
        replace(item, domain=annotation_file(item.source.origin.partition(": ")[0]))
        for item in found
        if isinstance(item, Record)
    ]
    if not records:
        raise FdrdError(f"{root}: no annotation is a valid record; `fdrd build` lists the reasons")
    catalogs = make_catalogs(records)
    named = [with_given(record, catalogs[record.domain]) for record in records]
    rules = Counter(rule for record in named for rule in record.rules)
    return named, dict(sorted(rules.items()))
