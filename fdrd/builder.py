"""Wires a build: source, records, images, clean, split, negatives, shards, manifest, card, registration."""

from __future__ import annotations

import errno
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdrd import publish, resume
from fdrd.atomic import write_text
from fdrd.build_config import BuildConfig
from fdrd.decide import decide
from fdrd.documents import write_documents
from fdrd.engine import Engine, open_engine
from fdrd.error import FdrdError
from fdrd.gather import gather
from fdrd.last_build import remember_build
from fdrd.manifest import annotation_file, dump, make_manifest, read_manifest
from fdrd.members import forget_unpacked
from fdrd.policy import refusal, refused
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.record import Record
from fdrd.registration import register
from fdrd.sources import Domain, find_domains
from fdrd.stage import stage_folder, stage_shards

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)


@dataclass(frozen=True, slots=True)
class Build:
    """What `build` did."""

    out: Path
    manifest: dict[str, Any]
    shards_written: int
    nothing_to_do: bool
    configs: Sequence[str]
    """Names under which `load_dataset(<name>, <config>)` finds it on this machine."""


def build(
    source: str | Path,
    out: str | Path = "data/fdrd",
    *,
    config: BuildConfig | None = None,
    workers: int | None = None,
    engine: str = "local",
    progress: Progress = silent,
) -> Build:
    """Builds a dataset from a raw source, goes on where a run was stopped, does nothing twice.

    Args:
        source: folder of one domain, or of folders of domains, in a layout of `fdrd.sources`.
        out: folder of the dataset; `<out>.work` beside it holds what a later run can use again.
        config: what determines the bytes.
        workers: processes that decode images and write shards, by default one per core.
        engine: where they run, of `fdrd.engine.ENGINES`.
        progress: told of each step.

    Raises:
        FdrdError: the source or the target is not usable, no record survived, another build is
            writing to the same target, or the disk is full.
    """
    from filelock import FileLock, Timeout

    source, out = Path(source), Path(out)
    domains = find_domains(source)
    if out.resolve().is_relative_to(source.resolve()):
        raise FdrdError(f"{out} lies inside the source {source}; choose an --out outside of it")
    try:
        publish.work_folder(out).mkdir(parents=True, exist_ok=True)
        lock = FileLock(publish.work_folder(out) / "lock", timeout=0)
        with lock, open_engine(engine, workers) as opened:
            publish.recover(out)
            publish.check_target(out)
            return _Run(source, out, config or BuildConfig(), opened, progress).build(domains)
    except Timeout:
        raise FdrdError(
            f"another build is writing to {out}; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise FdrdError(
            f"{error.filename or out}: {error.strerror}; make room or choose another --out, then "
            "run the command again: it goes on from what is done"
        ) from error


@dataclass(frozen=True, slots=True)
class _Run:
    """One build under its lock."""

    source: Path
    out: Path
    config: BuildConfig
    engine: Engine
    progress: Progress

    def build(self, domains: list[Domain]) -> Build:
        started = time.time()
        tree = resume.look_over(self.source)
        inputs = resume.inputs_digest(asdict(self.config), domains, tree)
        if resume.is_built_from(self.out, inputs):
            manifest = read_manifest(self.out)
            remember_build(self.out)
            return Build(self.out, manifest, 0, True, register(self.out, manifest))

        ledger = publish.work_folder(self.out) / "examined.jsonl"
        gathered = gather(
            self.source, domains, self.config.max_pixels, ledger, self.engine, self.progress,
            expected=tree.files,
        )  # fmt: skip
        files_read = Counter(annotation_file(item) for item in gathered.items)
        items = decide(gathered, self.config)
        gathered.items.clear()
        kept = [item for item in items if isinstance(item, Record)]
        rejected = [item for item in items if isinstance(item, Rejection)]
        del items
        if failing := refused(rejected, self.config.policy):
            raise refusal(failing, self._list(rejected))
        if not kept:
            raise FdrdError(self._nothing_kept(rejected))
        staged = stage_shards(
            self.source, self.out, kept, gathered.examined, self.config, self.engine, self.progress
        )
        manifest = make_manifest(self.config, domains, files_read, kept, rejected, staged.shards)
        stage = stage_folder(self.out)
        write_text(stage / "rejected.jsonl", _json_lines(rejected))
        write_documents(stage, manifest, self.progress)
        write_text(stage / "manifest.json", dump(manifest))
        publish.exchange(self.out)
        forget_unpacked({self.source / image.path for image in gathered.examined if image.member})
        retry = any(rejection.reason == "read_error" for rejection in rejected)
        resume.log_build(self.out, None if retry else inputs, started, self.engine.workers)
        remember_build(self.out)
        return Build(self.out, manifest, staged.written, False, register(self.out, manifest))

    def _list(self, rejected: list[Rejection]) -> Path:
        """A file that lists the rejections of a build that fails."""
        file = publish.work_folder(self.out) / "rejected.jsonl"
        write_text(file, _json_lines(rejected))
        return file

    def _nothing_kept(self, rejected: list[Rejection]) -> str:
        """The message for a source that gives nothing: counts, an example of each reason, all in a file."""
        reasons = Counter(rejection.reason for rejection in rejected).most_common(3)
        examples = {rejection.reason: rejection for rejection in reversed(rejected)}
        said = "; ".join(
            f"{count} {reason}, the first "
            f"{' '.join(filter(None, (examples[reason].file, examples[reason].key)))}: "
            f"{examples[reason].detail}"
            for reason, count in reasons
        )
        return (
            f"{self.source}: {len(rejected)} records were read and none could be kept: {said}. "
            f"All are in {self._list(rejected)}"
        )


def _json_lines(rejected: Sequence[Rejection]) -> str:
    return "".join(json.dumps(asdict(item), ensure_ascii=False) + "\n" for item in rejected)
