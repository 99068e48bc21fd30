"""What `fdrd build --explain` says: which reader takes each folder of a source, why, and what came near."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fdrd.sources import READERS, Domain, find_domains, folders_of, nearly


def explain(root: Path) -> Iterator[str]:
    """Lines about every domain, and about the folders that are none.

    Raises:
        FdrdError: no reader knows the source; the message says what came near.
    """
    domains = find_domains(root)
    for domain in domains:
        yield from _of_domain(root / domain.path, domain)
    if [domain.path for domain in domains] != ["."]:
        known = {domain.path for domain in domains}
        for path in sorted(root.iterdir()):
            if path.is_symlink() and path.is_dir():
                yield f"{path.name}: left out, as links to folders are not followed; move or copy it"
        for folder in folders_of(root):
            if folder.name not in known:
                yield f"{folder.name}: left out, as no reader knows its layout"
                yield from (f"    {why.partition(': ')[2]}" for why in nearly(folder))


def _of_domain(folder: Path, domain: Domain) -> Iterator[str]:
    yield f"{domain.name}: {domain.reader}, because {domain.why}"
    said = [name for name, value in domain.about.to_json().items() if value]
    said += ["group"] if domain.about.group else []
    if said:
        yield f"    domain.toml gives {', '.join(said)}"
    for reader, module in READERS.items():
        why = module.detect(folder) if reader != domain.reader else None
        if why:
            yield f"    {reader} would fit too, as {why}; {domain.reader} is asked before it"
