"""Fills the stage, where a build is laid out before it is published: shards that are whole already, and new ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdrd.build_config import BuildConfig
from fdrd.curation.source_contents import SourceContents
from fdrd.engines import Engine
from fdrd.negatives.annotate import AnnotateConfig, make_catalogues
from fdrd.progress import Progress
from fdrd.record import Record, class_labels, features
from fdrd.storage import publish, resume
from fdrd.storage.manifest import library_versions
from fdrd.storage.shard_file import digests_path
from fdrd.storage.shards import ShardTask, plan_shards, shard_key, write_shard


@dataclass(frozen=True, slots=True)
class Staged:
    """The shards of a build: their manifest entries, sorted by path, and how many had to be written."""

    shards: list[dict[str, Any]]
    written: int


def stage_folder(out: Path) -> Path:
    """Where the files of a build lie until it is whole."""
    return publish.work_folder(out) / "stage"


def stage_shards(
    out: Path,
    kept: list[Record],
    gathered: SourceContents,
    config: BuildConfig,
    engine: Engine,
    progress: Progress,
    true_negatives: Mapping[str, tuple[str, ...]] | None = None,
) -> Staged:
    """Every shard of the records below the stage, written where no earlier run left one of the same key."""
    stage = stage_folder(out)
    (stage / "data").mkdir(parents=True, exist_ok=True)
    labels = class_labels(kept)
    schema = features(sorted(labels.values())).arrow_schema.serialize().to_pybytes()
    progress("preparing negatives", 0, 1)
    catalogues = make_catalogues(kept)
    progress("preparing negatives", 1, 1)
    annotating = AnnotateConfig(config.seed, config.negatives, config.attribute_negatives)
    settings: list[Any] = [
        asdict(annotating),
        library_versions(),
        hashlib.sha256(schema).hexdigest(),
    ]
    captions = _several_captions(kept, true_negatives or {})
    if true_negatives:  # they change negatives, so they are part of the key of each shard
        settings.append(sorted(true_negatives.items()))

    whole = resume.whole_shards(out)
    entries, missing = [], []
    for plan in plan_shards(kept, gathered.examined, config.shard_bytes, config.format):
        key = shard_key(plan, settings, catalogues[plan.domain].digest)
        if key in whole:
            folder, entry = whole[key]
            if folder != stage:
                for path in (plan.path, digests_path(plan.path)):
                    publish.link_or_copy(folder / path, stage / path)
            entries.append(entry)
        else:
            missing.append((plan, key))
    missing.sort(
        key=lambda found: -len(found[0].records)
    )  # so that no worker is left with a long one

    def tasks() -> Iterator[ShardTask]:
        for plan, key in missing:
            digests = {record.source.sha256 for record in plan.records}
            several = {digest: captions[digest] for digest in digests & captions.keys()}
            packed = {
                digest: gathered.packed[digest] for digest in digests & gathered.packed.keys()
            }
            yield ShardTask(
                plan, key, gathered.root, packed, str(stage), schema, labels, several, annotating
            )  # fmt: skip

    rows = sum(entry["rows"] for entry in entries)
    wanted = {plan.domain: catalogues[plan.domain] for plan, _ in missing}
    for entry in engine.run(write_shard, tasks(), wanted):
        resume.note_shard(out, entry)
        entries.append(entry)
        rows += entry["rows"]
        progress("writing shards", rows, len(kept))
    paths = {entry["path"] for entry in entries}
    publish.remove_others(stage, paths | set(map(digests_path, paths)))
    return Staged(sorted(entries, key=lambda entry: str(entry["path"])), len(missing))


def _several_captions(
    kept: list[Record], true_negatives: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """By image digest, the texts that are true of images with more than one: captions, and what reviewers found."""
    captions: dict[str, tuple[str, ...]] = {}
    for record in kept:
        digest = record.source.sha256
        captions[digest] = (*captions.get(digest, ()), record.caption)
    for digest in captions.keys() & true_negatives.keys():
        captions[digest] = (*captions[digest], *true_negatives[digest])
    return {digest: found for digest, found in captions.items() if len(found) > 1}
