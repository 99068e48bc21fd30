"""Builds one part of a dataset, as a job of an array does; `fdrd.pipeline.builder.merge` puts the parts together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from fdrd.build_config import BuildConfig
from fdrd.engines import open_engine
from fdrd.errors import FdrdError
from fdrd.images.containers import forget_unpacked
from fdrd.pipeline.claim import claim, usable_source
from fdrd.pipeline.collect import gather, read_items
from fdrd.pipeline.parts import VERSION, Part, Share, check_part_target, is_part_of, write_part
from fdrd.progress import Progress, silent
from fdrd.storage import publish, resume
from fdrd.storage.manifest import describe_domain, library_versions


def build_part(
    source: str | Path,
    out: str | Path,
    part: Part,
    *,
    config: BuildConfig | None = None,
    workers: int | None = None,
    engine: str = "local",
    progress: Progress = silent,
) -> bool:
    """Builds one part of a dataset, which `merge` puts together with the others; the arguments are those of `build`.

    Returns:
        Whether there was something to do.

    Raises:
        FdrdError: as `build`; or an image could not be read.
    """
    source, config = Path(source), config or BuildConfig()
    domains = usable_source(source, Path(out))
    with claim(Path(out)) as target, open_engine(engine, workers) as opened:
        check_part_target(target)
        tree = resume.fingerprint_source(source)
        inputs = resume.inputs_digest([asdict(config), asdict(part)], domains, tree)
        if is_part_of(target, inputs):
            return False
        share = Share(part)
        ledger = publish.work_folder(target) / "examined.jsonl"
        gathered = gather(
            source, share.of(read_items(source, domains)), config.max_pixels, ledger, opened, progress,
            expected=tree.files // part.of,
        )  # fmt: skip
        for ref, found in gathered.examined.items():
            if found.reason == "read_error":
                raise FdrdError(f"{ref}: {found.detail}; run the command again once it can be read")
        about = {
            "version": VERSION,
            "part": part.number,
            "of": part.of,
            "inputs": inputs,
            "config": asdict(config),
            "libraries": library_versions(),
            "domains": [describe_domain(domain) for domain in domains],
        }
        write_part(target, gathered, share, about)
        forget_unpacked({source / image.path for image in gathered.examined if image.member})
        return True
