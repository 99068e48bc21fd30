"""Write the documents of a built dataset: the card and Croissant metadata."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from pathlib import Path

from fdrd.card.croissant import croissant
from fdrd.card.render import render_card
from fdrd.card.summary import Summary
from fdrd.checks.audits import report
from fdrd.checks.tally import KeySet
from fdrd.engines import Engine, LocalEngine
from fdrd.files.atomic import write_text
from fdrd.pipeline.counts import Counts, count_shard, read_true_captions
from fdrd.progress import Progress, silent
from fdrd.storage.manifest_types import Manifest


def write_documents(
    folder: Path,
    manifest: Manifest,
    progress: Progress = silent,
    engine: Engine | None = None,
    counted: Mapping[str, Counts] | None = None,
) -> list[Summary]:
    """Write README.md and croissant.json from the counts of all shards, and return the counts of each domain.

    The audit leaves out the text-only baselines, which take longer than everything else.

    Args:
        folder: of the dataset.
        manifest: its content.
        progress: called after each shard.
        engine: reads the shards that are not counted yet; by default this process does.
        counted: counts of shards by path.
    """
    found = _by_domain(folder, manifest, progress, engine or LocalEngine(1), counted or {})
    audits = [report(domain, counts.tally) for domain, counts in found.items()]
    summaries = [counts.summary for counts in found.values()]
    write_text(folder / "README.md", render_card(manifest, audits, summaries))
    write_text(folder / "croissant.json", json.dumps(croissant(manifest), indent=1) + "\n")
    return summaries


def _by_domain(
    folder: Path,
    manifest: Manifest,
    progress: Progress,
    engine: Engine,
    counted: Mapping[str, Counts],
) -> dict[str, Counts]:
    """Return the counts of each domain, sorted by name."""
    folder = folder.absolute()
    shards, rows = manifest.shards, manifest.records.kept
    missing = [shard for shard in shards if shard.path not in counted]
    keys: dict[str, array[int]] = {}
    if missing:
        paths = [str(folder / shard.path) for shard in shards]
        for shard, captions in zip(shards, engine.run(read_true_captions, paths), strict=True):
            keys.setdefault(shard.domain, array("Q")).extend(captions)
    true = {domain: KeySet(found) for domain, found in keys.items()}
    tasks = [(str(folder), shard) for shard in missing]
    read = engine.run(count_shard, tasks, manifest, true)
    found: dict[str, Counts] = {}
    done = 0
    for shard in shards:
        counts = counted.get(shard.path) or next(read)
        found.setdefault(shard.domain, Counts(Summary(shard.domain))).add(counts)
        done += shard.rows
        progress("auditing captions", done, rows)
    return dict(sorted(found.items()))
