"""The text of `fdrd build --explain`: the layout of each folder, the reason, and near misses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fdrd.reasons import Rejection
from fdrd.sources import (
    READERS,
    Domain,
    find_domains,
    folders_beside,
    near_misses,
    open_domain,
    read_domain,
    unused_files,
)
from fdrd.sources.reading.options import NO_OPTIONS, SourceOptions
from fdrd.sources.reading.source_folder import SourceFolder

_SAMPLES = 3


def explain(root: Path, options: SourceOptions = NO_OPTIONS) -> Iterator[str]:
    """Yield lines about every domain, and about the folders that are not domains.

    Raises:
        FdrdError: the layout of the source is unknown; the message names the closest layouts.
    """
    domains = find_domains(root, options)
    for domain in domains:
        yield from _explain_domain(open_domain(root, domain), domain)
        yield from _samples(root, domain)
    for file, why in unused_files(root, domains):
        yield f"{file}: not used: {why}"
    if [domain.path for domain in domains] == ["."]:
        return
    for path in sorted(root.iterdir()):
        if path.is_symlink() and path.is_dir():
            yield f"{path.name}: left out: links to folders are not followed; move or copy it"
    for name, folder in folders_beside(root, domains):
        yield f"{name}: left out: unknown layout"
        for why in near_misses(folder):
            yield f"    {why.partition(': ')[2]}"


def _explain_domain(folder: SourceFolder, domain: Domain) -> Iterator[str]:
    yield f"{domain.name}: {domain.reader}, because {domain.why}"
    given = [name for name, value in domain.about.to_json().items() if value]
    given += ["group"] if domain.about.group else []
    if given:
        yield f"    domain.toml gives {', '.join(given)}"
    for name, reader in READERS.items():
        why = reader.detect(folder) if name != domain.reader else None
        if why:
            yield f"    {name} matches too, because {why}; {domain.reader} is tried first"


def _samples(root: Path, domain: Domain) -> Iterator[str]:
    """Yield lines about the first records, or the first rejection if there are none."""
    rejected = None
    items = iter(read_domain(root, domain, require_captions=False))
    for shown in range(_SAMPLES):
        for item in items:
            if not isinstance(item, Rejection):
                break
            rejected = rejected or item
        else:
            if not shown and rejected:
                place = f"{rejected.file}: {rejected.key}".removesuffix(": ")
                yield f"    no records; first rejection: {place}: {rejected.reason}: {rejected.detail}"[
                    :300
                ]
            return
        caption = item.caption[:80] + ("..." if len(item.caption) > 80 else "")
        yield f"    {item.image}: {caption or '(no caption)'}"[:300]
        yield f"        category: {item.category or 'none'}, split: {item.split or 'hashed'}"
