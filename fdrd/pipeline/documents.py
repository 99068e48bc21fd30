"""Write the documents of a built dataset: the card and Croissant metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fdrd.card.croissant import croissant
from fdrd.card.render import render_card
from fdrd.card.summary import Summary
from fdrd.checks.audit_records import named_records
from fdrd.checks.audits import Audit, report
from fdrd.checks.tally import Tally, true_captions
from fdrd.engines import Engine, LocalEngine
from fdrd.files.atomic import write_text
from fdrd.progress import Progress, silent
from fdrd.storage.shard_file import read_batches


def write_documents(
    folder: Path,
    manifest: dict[str, Any],
    progress: Progress = silent,
    engine: Engine | None = None,
) -> None:
    """Read the shards and write README.md and croissant.json.

    The audit leaves out the text-only baselines, which take longer than everything else. Without an engine
    this process reads all shards.
    """
    summaries, audits = _counted(folder, manifest, progress, engine or LocalEngine(1))
    write_text(folder / "README.md", render_card(manifest, audits, summaries))
    write_text(folder / "croissant.json", json.dumps(croissant(manifest), indent=1) + "\n")


def _counted(
    folder: Path, manifest: dict[str, Any], progress: Progress, engine: Engine
) -> tuple[list[Summary], list[Audit]]:
    """Return summaries and audits by domain."""
    shards, rows = manifest["shards"], manifest["records"]["kept"]
    progress("auditing captions", 0, rows)
    paths = [str(folder / shard["path"]) for shard in shards]
    true: dict[str, set[int]] = {}
    for shard, captions in zip(shards, engine.run(_true_of_shard, paths), strict=True):
        true.setdefault(shard["domain"], set()).update(captions)
    tallies: dict[str, Tally] = {}
    summaries: dict[str, Summary] = {}
    # Always in manifest order, because the last digit of a float sum depends on it.
    counted = engine.run(
        _count_shard, [(str(folder), shard) for shard in shards], manifest["categories"], true
    )
    for shard, (summary, tally) in zip(shards, counted, strict=True):
        summaries.setdefault(shard["domain"], Summary(shard["domain"])).add(summary)
        tallies.setdefault(shard["domain"], Tally()).add(tally)
        progress("auditing captions", sum(each.rows for each in tallies.values()), rows)
    return (
        [summaries[domain] for domain in sorted(summaries)],
        [report(domain, tallies[domain]) for domain in sorted(tallies)],
    )


def _true_of_shard(path: str) -> set[int]:
    """Return the captions of a shard for the tally."""
    batches = read_batches(Path(path), images=False)
    return true_captions([text for batch in batches for text in batch["caption"].to_pylist()])


def _count_shard(
    task: tuple[str, dict[str, Any]], categories: list[str], true: dict[str, set[int]]
) -> tuple[Summary, Tally]:
    """Summarize and audit one shard."""
    folder, shard = task
    summary, tally = Summary(shard["domain"]), Tally()
    records = named_records(Path(folder), {"shards": [shard], "categories": categories})
    for record in summary.count(records):
        tally.count(record, true[shard["domain"]])
    return summary, tally
