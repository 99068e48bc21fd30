"""Fill the stage folder with the shards of a build: reuse intact ones, and write the others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fdrd.build_config import BuildConfig
from fdrd.checks.tally import true_captions
from fdrd.curation.source_contents import SourceContents
from fdrd.engines import Engine
from fdrd.errors import FdrdError
from fdrd.negatives.annotate import AnnotateConfig, make_catalogs
from fdrd.pipeline.counts import Counts, write_counted
from fdrd.progress import Progress
from fdrd.record import CATEGORY_NAME, Record, class_labels, features
from fdrd.storage import publish, resume
from fdrd.storage.manifest import library_versions
from fdrd.storage.shard_file import PARQUET
from fdrd.storage.shards import ShardTask, plan_shards, shard_key


@dataclass(frozen=True, slots=True)
class Staged:
    """The shards of a build: their manifest entries, sorted by path, and the counts of newly written ones."""

    shards: list[dict[str, Any]]
    counted: dict[str, Counts]


def stage_shards(
    out: Path,
    kept: list[Record],
    contents: SourceContents,
    sizes: Mapping[str, int],
    config: BuildConfig,
    engine: Engine,
    progress: Progress,
    true_negatives: Mapping[str, tuple[str, ...]] | None = None,
) -> Staged:
    """Stage all shards of the records. Shards with an unchanged key are reused from an earlier run.

    Args:
        out: folder of the dataset.
        kept: the records.
        contents: where the images are.
        sizes: of the images in bytes, by digest.
        config: the options.
        engine: writes the shards.
        progress: called after each shard.
        true_negatives: by image digest, negatives that reviewers found to be true.
    """
    stage = publish.stage_folder(out)
    (stage / "data").mkdir(parents=True, exist_ok=True)
    labels = class_labels(kept)
    schema = features(sorted(labels.values())).arrow_schema.serialize().to_pybytes()
    engine.prepare(write_counted)
    progress("preparing negatives", 0, 1)
    catalogs = make_catalogs(kept)
    progress("preparing negatives", 1, 1)
    annotating = AnnotateConfig(config.seed, config.negatives, config.attribute_negatives)
    settings: list[Any] = [asdict(annotating), library_versions()]
    settings.append(hashlib.sha256(schema).hexdigest())
    captions = _several_captions(kept, true_negatives or {})
    if true_negatives:  # they change negatives, so they are part of every key
        settings.append(sorted(true_negatives.items()))

    reusable = resume.reusable_shards(out)
    entries, missing = [], []
    for plan in plan_shards(kept, sizes, config.shard_bytes, config.format):
        columns = (CATEGORY_NAME,) if plan.path.endswith(PARQUET) else ()
        key = shard_key(plan, settings, catalogs[plan.domain].digest, *columns)
        if key in reusable:
            earlier, entry = reusable[key]
            if earlier != stage:
                publish.link_or_copy(earlier / plan.path, stage / plan.path)
            entries.append(entry)
        else:
            missing.append((plan, key))
    # Large shards first, so that no worker is left with one at the end.
    missing.sort(key=lambda plan_and_key: -len(plan_and_key[0].records))

    def tasks() -> Iterator[ShardTask]:
        for plan, key in missing:
            digests = {record.source.sha256 for record in plan.records}
            several = {digest: captions[digest] for digest in digests & captions.keys()}
            packed = {
                digest: contents.packed[digest] for digest in digests & contents.packed.keys()
            }
            yield ShardTask(
                plan, key, contents.root, packed, str(stage.absolute()), schema, labels, several, annotating
            )  # fmt: skip

    rows = sum(entry["rows"] for entry in entries)
    needed = {plan.domain: catalogs[plan.domain] for plan, _ in missing}
    true = {
        domain: true_captions([record.caption for record in kept if record.domain == domain])
        for domain in needed
    }
    counted: dict[str, Counts] = {}
    for entry, counts in engine.run(write_counted, tasks(), needed, true):
        _check_is_here(stage / entry["path"])
        counted[entry["path"]] = counts
        resume.record_shard(out, entry)
        entries.append(entry)
        rows += entry["rows"]
        progress("writing shards", rows, len(kept))
    publish.remove_others(stage, {entry["path"] for entry in entries})
    return Staged(sorted(entries, key=lambda entry: str(entry["path"])), counted)


def _check_is_here(shard: Path) -> None:
    """Raise `FdrdError` if a worker wrote a shard where this machine does not see it."""
    if not shard.is_file():
        raise FdrdError(
            f"{shard} was written by another machine and is not here; all machines must see --out under "
            "the same path"
        )


def _several_captions(
    kept: list[Record], true_negatives: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Return, by image digest, the true texts of images that have more than one: captions and true negatives."""
    captions: dict[str, tuple[str, ...]] = {}
    for record in kept:
        digest = record.source.sha256
        captions[digest] = (*captions.get(digest, ()), record.caption)
    for digest in captions.keys() & true_negatives.keys():
        captions[digest] = (*captions[digest], *true_negatives[digest])
    return {digest: several for digest, several in captions.items() if len(several) > 1}
