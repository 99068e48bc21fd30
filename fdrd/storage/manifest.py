"""The manifest of a built dataset: what went in, what came out, what was rejected, digests of every shard.

It holds no time, host or worker count, so that the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fdrd.build_config import BuildConfig
from fdrd.errors import FdrdError
from fdrd.reasons import REASONS, Rejection
from fdrd.record import SPLITS, Record, class_labels

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from fdrd.sources import Domain

SCHEMA_VERSION = 1
ANNOTATIONS = frozenset({".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".tar"})
LIBRARIES = ("fdrd", "datasets", "pillow", "pyarrow")  # those whose version can change the bytes


_PACKAGE = Path(__file__).parents[1]
# The wheel carries the schemas inside the package; a checkout has them at the top.
_SCHEMAS = next(
    path for path in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas") if path.is_dir()
)


@cache
def schema(name: str) -> Validator:
    """The validator of `schemas/<name>.schema.json`."""
    from jsonschema import Draft202012Validator

    text = (_SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a built dataset.

    Raises:
        FdrdError: there is none, or it is not valid under `schemas/manifest.schema.json`.
    """
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FdrdError(
            f"{folder} holds no manifest.json; `fdrd build --out {folder}` makes one"
        ) from None
    except ValueError as error:
        raise FdrdError(f"{path} is not JSON ({error}); build the dataset again") from None
    for flaw in schema("manifest").iter_errors(manifest):
        raise FdrdError(f"{path}: {flaw.json_path}: {flaw.message}; build the dataset again")
    return manifest


def annotation_file(item: Record | Rejection) -> str:
    """The file that an item is accounted under: its annotation file, or one heading for all loose files.

    >>> annotation_file(Rejection("birds/wren.txt", "line 1", "caption_missing"))
    '(images and their text files)'
    """
    file = item.file if isinstance(item, Rejection) else item.source.origin.partition(": ")[0]
    return file if _holds_annotations(file) else "(images and their text files)"


@lru_cache(maxsize=65_536)
def _holds_annotations(file: str) -> bool:
    return PurePosixPath(file).suffix.lower() in ANNOTATIONS


def make_manifest(
    config: BuildConfig,
    domains: list[dict[str, Any]],
    files_read: Counter[str],
    kept: list[Record],
    rejected: list[Rejection],
    shards: list[dict[str, Any]],
    tokens: dict[str, Any] | None = None,
    decisions: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of a build.

    Args:
        config: the build's.
        domains: as `describe_domain` gives them.
        files_read: records that were read, by `annotation_file`.
        kept: records in the shards.
        rejected: all others.
        shards: entries as `fdrd.storage.shards.write_shard` returns them.
        tokens: lengths of captions, as `fdrd.text.tokens.summary` gives them.
        decisions: what a review did, as `fdrd.curation.decisions.decisions_entry` gives it.
    """
    rules = Counter(rule for record in kept for rule in record.rules)
    for shard in shards:
        rules.update(shard["rules"])
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "name": config.name,
        "config": asdict(config),
        "libraries": library_versions(),
        "backbone": config.backbone,
        "domains": domains,
        "records": {
            "read": files_read.total(),
            "kept": len(kept),
            "rejected": len(rejected),
        },
        "files": _account(files_read, kept, rejected),
        "rejected": _counted(rejection.reason for rejection in rejected),
        "rules": {rule: rules[rule] for rule in sorted(rules) if rule not in REASONS},
        "reported": {reason: rules[reason] for reason in sorted(rules) if reason in REASONS},
        "licences": _counted(record.source.license for record in kept),
        "splits": _split_counts(kept),
        "tokens": tokens,
        "categories": sorted(class_labels(kept).values()),
        "shards": shards,
        "digest": digest_of_shards(shards),
    }
    if decisions is not None:
        manifest["decisions"] = decisions
    schema("manifest").validate(manifest)
    return manifest


def digest_of_shards(shards: Iterable[Mapping[str, Any]]) -> str:
    """The digest of a dataset: of the paths and digests of its shards."""
    digests = "".join(f"{shard['path']} {shard['sha256']}\n" for shard in shards)
    return hashlib.sha256(digests.encode()).hexdigest()


def describe_domain(domain: Domain) -> dict[str, Any]:
    """A domain as the manifest has it: its reader, and what its `domain.toml` says."""
    said = {key: value for key, value in domain.about.to_json().items() if value}
    return {"name": domain.name, "reader": domain.reader, **said}


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _account(
    files_read: Counter[str], kept: Iterable[Record], rejected: Iterable[Rejection]
) -> dict[str, Any]:
    """Records read, kept and rejected by reason, for each annotation file."""
    files_kept = Counter(annotation_file(item) for item in kept)
    reasons: dict[str, list[str]] = {file: [] for file in files_read}
    for rejection in rejected:
        reasons[annotation_file(rejection)].append(rejection.reason)
    return {
        file: {
            "read": files_read[file],
            "kept": files_kept[file],
            "rejected": _counted(reasons[file]),
        }
        for file in sorted(files_read)
    }


def _split_counts(records: Iterable[Record]) -> dict[str, Any]:
    """Pairs, images and categories by domain and split."""
    rows: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        rows.setdefault((record.domain, record.split), []).append(record)
    return {
        domain: {
            split: {
                "pairs": len(found),
                "images": len({record.source.sha256 for record in found}),
                "captions": len({record.caption for record in found}),
                "categories": len({record.category for record in found}),
            }
            for split in SPLITS
            if (found := rows.get((domain, split)))
        }
        for domain in sorted({domain for domain, _ in rows})
    }


def library_versions() -> dict[str, str]:
    """Versions of the libraries that can change the bytes of a build."""
    return {name: version(name) for name in LIBRARIES}


def dump(value: Mapping[str, Any]) -> str:
    """JSON as it is written to a dataset's folder."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"
