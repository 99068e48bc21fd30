"""Wires a build: source, records, images, clean, split, negatives, shards, manifest, card, registration."""

from __future__ import annotations

import errno
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from fdrd import publish, resume
from fdrd.annotate import AnnotateConfig, find_attributes_many, make_catalogues
from fdrd.atomic import write_text
from fdrd.audit import Audit, audit
from fdrd.audited import named_records
from fdrd.build_config import BuildConfig
from fdrd.card import render_card
from fdrd.clean import clean, encodable, unique_ids, with_images
from fdrd.engine import available_cores, run_tasks
from fdrd.error import FdrdError
from fdrd.images import Examined, examine_many
from fdrd.last_build import remember_build
from fdrd.ledger import Stamp, append_ledger, read_ledger, stamp
from fdrd.manifest import annotation_file, dump, library_versions, make_manifest, read_manifest
from fdrd.members import forget_unpacked
from fdrd.policy import refusal, refused
from fdrd.progress import Progress, silent
from fdrd.reasons import Rejection
from fdrd.record import ImageRef, Record, class_labels, features
from fdrd.registration import register
from fdrd.shards import ShardTask, plan_shards, shard_key, write_shard
from fdrd.sources import Domain, find_domains, read_domain
from fdrd.split import split_domain

Item = Record | Rejection

CHUNK = 64  # images that a worker examines per task: large enough to hide the cost of a task
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
    progress: Progress = silent,
) -> Build:
    """Builds a dataset from a raw source, goes on where a run was stopped, does nothing twice.

    Args:
        source: folder of one domain, or of folders of domains, in a layout of `fdrd.sources`.
        out: folder of the dataset; `<out>.work` beside it holds what a later run can use again.
        config: what determines the bytes.
        workers: processes that decode images and write shards, by default one per core.
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
        with FileLock(publish.work_folder(out) / "lock", timeout=0):
            publish.recover(out)
            publish.check_target(out)
            run = _Run(source, out, config or BuildConfig(), workers or available_cores(), progress)
            return run.build(domains)
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
    workers: int
    progress: Progress

    def build(self, domains: list[Domain]) -> Build:
        started = time.time()
        items: list[Item] = list(unique_ids(encodable(self._read(domains))))
        files_read = Counter(annotation_file(item) for item in items)
        images = dict.fromkeys(item.image for item in items if isinstance(item, Record))
        paths = dict.fromkeys(image.path for image in images)
        stamps = {path: stamp(self.source, path) for path in paths}
        inputs = resume.inputs_digest(asdict(self.config), (*domains, *items), stamps)
        if resume.is_built_from(self.out, inputs):
            manifest = read_manifest(self.out)
            remember_build(self.out)
            return Build(self.out, manifest, 0, True, register(self.out, manifest))

        examined = self._examine(images, stamps)
        items = list(with_images(items, examined))
        items = list(clean(self._split(items), self.config.policy))
        kept = [item for item in items if isinstance(item, Record)]
        rejected = [item for item in items if isinstance(item, Rejection)]
        if failing := refused(rejected, self.config.policy):
            raise refusal(failing, self._list(rejected))
        if not kept:
            raise FdrdError(self._nothing_kept(rejected))
        kept = self._describe(kept)
        shards, written = self._write(kept, examined)
        manifest = make_manifest(self.config, domains, files_read, kept, rejected, shards)
        stage = publish.work_folder(self.out) / "stage"
        write_text(stage / "rejected.jsonl", _json_lines(rejected))
        write_text(stage / "README.md", render_card(manifest, self._audit(stage, manifest)))
        write_text(stage / "manifest.json", dump(manifest))
        publish.exchange(self.out)
        forget_unpacked({self.source / image.path for image in images if image.member})
        retry = any(rejection.reason == "read_error" for rejection in rejected)
        resume.log_build(self.out, None if retry else inputs, started, self.workers)
        remember_build(self.out)
        return Build(self.out, manifest, written, False, register(self.out, manifest))

    def _read(self, domains: list[Domain]) -> Iterator[Item]:
        count = 0
        for domain in domains:
            for item in read_domain(self.source, domain):
                count += 1
                if count % 1000 == 0:
                    self.progress("reading annotations", count, 0)
                yield item
        self.progress("reading annotations", count, count)

    def _examine(
        self, images: Iterable[ImageRef], stamps: dict[str, Stamp]
    ) -> dict[ImageRef, Examined]:
        """What every image is worth: from the ledger where the file did not change, else decoded."""
        images = list(images)
        ledger = publish.work_folder(self.out) / "examined.jsonl"
        examined = read_ledger(ledger, stamps)
        new = [image for image in images if image not in examined]
        chunks = [new[start : start + CHUNK] for start in range(0, len(new), CHUNK)]
        tasks = ((str(self.source), chunk, self.config.max_pixels) for chunk in chunks)
        self.progress("decoding images", len(examined), len(images))
        for chunk, found in zip(chunks, run_tasks(examine_many, tasks, self.workers), strict=True):
            examined.update(zip(chunk, found, strict=True))
            append_ledger(ledger, ((image, stamps[image.path], examined[image]) for image in chunk))
            self.progress("decoding images", len(examined), len(images))
        return examined

    def _split(self, items: list[Item]) -> Iterator[Item]:
        """The items in their order, each record with its split."""
        by_domain: dict[str, list[Record]] = {}
        for item in items:
            if isinstance(item, Record):
                by_domain.setdefault(item.domain, []).append(item)
        placed = {
            record.id: record
            for records in by_domain.values()
            for record in split_domain(records, self.config.seed)
        }
        return (placed[item.id] if isinstance(item, Record) else item for item in items)

    def _describe(self, kept: list[Record]) -> list[Record]:
        """The records, those without given attributes with the ones that their captions describe."""
        bare = [place for place, record in enumerate(kept) if not record.attributes]
        chunks = [bare[start : start + 8 * CHUNK] for start in range(0, len(bare), 8 * CHUNK)]
        tasks = (
            [(kept[place].caption, kept[place].category) for place in chunk] for chunk in chunks
        )
        found = run_tasks(find_attributes_many, tasks, self.workers if len(chunks) > 8 else 1)
        described = list(kept)
        done = 0
        for chunk, attributes in zip(chunks, found, strict=True):
            for place, spans in zip(chunk, attributes, strict=True):
                described[place] = replace(kept[place], attributes=spans)
            done += len(chunk)
            self.progress("finding attributes", done, len(bare))
        return described

    def _write(
        self, kept: list[Record], examined: dict[ImageRef, Examined]
    ) -> tuple[list[dict[str, Any]], int]:
        """Manifest entries of all shards, by path, and how many of them had to be written."""
        stage = publish.work_folder(self.out) / "stage"
        (stage / "data").mkdir(parents=True, exist_ok=True)
        labels = class_labels(kept)
        schema = features(sorted(labels.values())).arrow_schema.serialize().to_pybytes()
        catalogues = make_catalogues(kept)
        config = self.config
        annotating = AnnotateConfig(config.seed, config.negatives, config.attribute_negatives)
        settings = [asdict(annotating), library_versions(), hashlib.sha256(schema).hexdigest()]
        captions: dict[str, tuple[str, ...]] = {}
        for record in kept:
            digest = record.source.sha256
            captions[digest] = (*captions.get(digest, ()), record.caption)
        bytes_of = {image: found.bytes for image, found in examined.items()}

        whole = resume.whole_shards(self.out)
        entries, tasks = [], []
        for plan in plan_shards(kept, bytes_of, config.shard_bytes):
            key = shard_key(plan, settings, catalogues[plan.domain].digest)
            if key in whole:
                folder, entry = whole[key]
                if folder != stage:
                    publish.link_or_copy(folder / plan.path, stage / plan.path)
                entries.append(entry)
                continue
            digests = {record.source.sha256 for record in plan.records}
            several = {digest: captions[digest] for digest in digests if len(captions[digest]) > 1}
            tasks.append(
                ShardTask(
                    plan, key, str(self.source), str(stage), schema, labels, several, annotating
                )
            )  # fmt: skip
        rows = sum(entry["rows"] for entry in entries)
        self.progress("writing shards", rows, len(kept))
        wanted = {task.plan.domain: catalogues[task.plan.domain] for task in tasks}
        for entry in run_tasks(write_shard, tasks, self.workers, wanted):
            resume.note_shard(self.out, entry)
            entries.append(entry)
            rows += entry["rows"]
            self.progress("writing shards", rows, len(kept))
        publish.remove_others(stage, {entry["path"] for entry in entries})
        return sorted(entries, key=lambda entry: str(entry["path"])), len(tasks)

    def _audit(self, stage: Path, manifest: dict[str, Any]) -> list[Audit]:
        """What the card says of the captions: without the blind readers, which take longer than all else."""
        rows = manifest["records"]["kept"]
        self.progress("auditing captions", 0, rows)
        audits: list[Audit] = []
        for _, found in groupby(named_records(stage, manifest), lambda record: record.domain):
            audits += audit(found, blind=False)
            self.progress("auditing captions", sum(each.rows for each in audits), rows)
        return sorted(audits, key=lambda each: each.domain)

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
