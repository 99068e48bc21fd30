"""Build one part of a dataset, e.g. as one job of an array; `builder.merge` joins the parts."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from fdrd.build_config import BuildConfig
from fdrd.curation.source_contents import SourceContents
from fdrd.engines import open_engine
from fdrd.errors import FdrdError
from fdrd.images.containers import remove_unpacked
from fdrd.pipeline.collect import check_items, read_items
from fdrd.pipeline.locking import check_outside, lock_output, open_source
from fdrd.pipeline.parts import (
    VERSION,
    Part,
    PartFilter,
    check_part_target,
    is_part_of,
    write_part,
)
from fdrd.progress import Progress, silent
from fdrd.sources import SourceOptions
from fdrd.storage import resume
from fdrd.storage.manifest import describe_domain, library_versions
from fdrd.storage.origin import Origin
from fdrd.storage.publish import ledger_path, work_folder


def build_part(
    source: str | Path,
    out: str | Path,
    part: Part,
    *,
    config: BuildConfig | None = None,
    options: SourceOptions | None = None,
    workers: int | None = None,
    engine: str = "local",
    progress: Progress = silent,
) -> bool:
    """Build one part of a dataset. The arguments are those of `build`.

    Returns:
        Whether anything had to be done.

    Raises:
        FdrdError: as `build`, or an image could not be read.
    """
    config = config or BuildConfig()
    with (
        open_source(Path(source), options) as (folder, domains),
        ExitStack() as stack,
    ):
        check_outside(Path(out), Path(source))
        target = stack.enter_context(lock_output(Path(out)))
        opened = stack.enter_context(open_engine(engine, workers))
        check_part_target(target)
        fingerprint = resume.fingerprint_source(folder)
        inputs = resume.inputs_digest([asdict(config), asdict(part)], domains, fingerprint.digest)
        if is_part_of(target, inputs):
            return False
        share = PartFilter(part)
        contents = stack.enter_context(SourceContents.in_folder(work_folder(target), str(folder)))
        check_items(
            contents, share.select(read_items(folder, domains)), config.max_pixels,
            ledger_path(target), opened, progress, expected=fingerprint.files // part.of,
        )  # fmt: skip
        for each in contents.images:
            if each.check.reason == "read_error":
                raise FdrdError(
                    f"{each.image}: {each.check.detail}; run the command again to retry"
                )
        about = {
            "version": VERSION,
            "part": part.number,
            "of": part.of,
            "inputs": inputs,
            "config": asdict(config),
            "libraries": library_versions(),
            "domains": [describe_domain(domain) for domain in domains],
            "origin": asdict(Origin(str(Path(source).resolve()), fingerprint.lasting)),
        }
        write_part(target, contents, share, about)
        remove_unpacked({folder / each.image.path for each in contents.images if each.image.member})
        return True
