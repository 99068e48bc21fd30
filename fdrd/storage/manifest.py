"""The manifest of a built dataset: inputs, counts of kept and rejected records, digests of every shard.

It contains no time, host or worker count, so that the same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import msgspec
import numpy as np

from fdrd.build_config import BuildConfig
from fdrd.curation.pair_table import PairTable
from fdrd.curation.source_contents import annotation_file
from fdrd.errors import FdrdError, first_line
from fdrd.kinds import refuse_other
from fdrd.reasons import REASONS, Rejection
from fdrd.record import class_labels
from fdrd.storage import manifest_types as types
from fdrd.storage.manifest_types import Manifest, Shard, SplitCounts, SplitName

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from fdrd.sources import Domain

SCHEMA_VERSION: Literal[2] = 2
_LONGEST = 400
"""Characters of a message, which may repeat any part of a manifest."""
LIBRARIES = ("fdrd", "datasets", "pillow", "pyarrow")  # their versions can change the bytes

_PACKAGE = Path(__file__).parents[1]
# The wheel has the schemas inside the package; a checkout has them at the top.
_SCHEMAS = next(
    path for path in (_PACKAGE / "schemas", _PACKAGE.parent / "schemas") if path.is_dir()
)


@cache
def schema(name: str) -> Validator:
    """Return the validator of `schemas/<name>.schema.json`."""
    from jsonschema import Draft202012Validator

    text = (_SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a built dataset.

    Raises:
        FdrdError: there is no manifest, or it is not valid. A folder of another kind is named.
    """
    path = folder / "manifest.json"
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        refuse_other(folder, "a dataset")
        flaw = "contains no manifest.json" if folder.is_dir() else "is not a folder"
        raise FdrdError(
            f"{folder} {flaw}; `fdrd build SOURCE --out {folder}` writes a dataset"
        ) from None
    except OSError as error:
        raise FdrdError(f"{path} is not JSON ({error}); build the dataset again") from None
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.ValidationError as error:
        flaw = first_line(error)
        flaw = flaw if len(flaw) < _LONGEST else f"{flaw[:_LONGEST]}..."
        raise FdrdError(f"{path}: {flaw}; build the dataset again") from None
    except (ValueError, RecursionError) as error:
        raise FdrdError(f"{path} is not JSON ({error}); build the dataset again") from None
    if flaw := _inconsistency(manifest):
        raise FdrdError(f"{path}: {flaw}; build the dataset again")
    return manifest


def _inconsistency(manifest: Manifest) -> str:
    """Return what is wrong between the parts of a manifest, or an empty text."""
    counted = {(domain, split) for domain, known in manifest.splits.items() for split in known}
    for shard in manifest.shards:
        if not shard.path.startswith(f"data/{shard.domain}/{shard.split}-"):
            return f"the shard {shard.path} is listed for another domain or split"
    if {(shard.domain, shard.split) for shard in manifest.shards} != counted:
        return "the domains and splits of the shards are not those that are counted"
    if len({shard.path for shard in manifest.shards}) < len(manifest.shards):
        return "a shard is listed twice"
    repeated = len(set(manifest.categories)) < len(manifest.categories)
    return "a category is listed twice" if repeated else ""


def make_manifest(
    config: BuildConfig,
    domains: Sequence[Domain],
    pairs: PairTable,
    rejected: list[Rejection],
    shards: list[Shard],
    tokens: dict[str, Any],
    decisions: dict[str, Any] | None,
    extra: Mapping[str, str],
) -> Manifest:
    """Return the manifest of a build.

    `tokens` is from `fdrd.text.tokens.summary`, `decisions` from `fdrd.curation.decisions.review_counts`, and `extra`
    are the extra columns of the shards.
    """
    rules = pairs.rule_counts()
    for shard in shards:
        rules.update(shard.rules)
    kept = len(pairs.rows)
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=config.name,
        config=types.Config(**asdict(config)),
        libraries=library_versions(),
        backbone=config.backbone,
        domains=[
            types.DomainEntry(each.name, each.reader, **each.about.to_json()) for each in domains
        ],
        records=types.RecordCounts(kept + len(rejected), kept, len(rejected)),
        files=_account(pairs, rejected),
        rejected=_counted(rejection.reason for rejection in rejected),
        rules={rule: rules[rule] for rule in sorted(rules) if rule not in REASONS},
        reported={reason: rules[reason] for reason in sorted(rules) if reason in REASONS},
        licenses=dict(sorted(pairs.count("license").items())),
        splits=_split_counts(pairs),
        tokens=msgspec.convert(tokens, types.Tokens),
        categories=sorted(class_labels(pairs.named_categories()).values()),
        shards=shards,
        digest=digest_of_shards(shards),
        decisions=msgspec.convert(decisions, types.ReviewCounts) if decisions else None,
        columns=cast("dict[str, types.ColumnType]", dict(extra)),
    )


def digest_of_shards(shards: Iterable[Shard]) -> str:
    """Return the digest of a dataset, computed from the paths and digests of its shards."""
    digests = "".join(f"{shard.path} {shard.sha256}\n" for shard in shards)
    return hashlib.sha256(digests.encode()).hexdigest()


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _account(pairs: PairTable, rejected: Iterable[Rejection]) -> dict[str, types.FileCounts]:
    """Count records read, kept, and rejected by reason, for each annotation file."""
    files_kept = pairs.count("file")
    reasons: dict[str, list[str]] = {file: [] for file in files_kept}
    for rejection in rejected:
        reasons.setdefault(annotation_file(rejection.file), []).append(rejection.reason)
    return {
        file: types.FileCounts(
            read=files_kept[file] + len(reasons[file]),
            kept=files_kept[file],
            rejected=_counted(reasons[file]),
        )
        for file in sorted(reasons)
    }


def _split_counts(pairs: PairTable) -> dict[str, dict[SplitName, SplitCounts]]:
    """Count pairs, images, captions and categories by domain and split."""
    found = pairs.by_split()
    return {
        domain: {
            split: SplitCounts(
                pairs=len(rows),
                images=len(np.unique(pairs["digest"][rows])),
                captions=len(np.unique(pairs["caption"][rows])),
                categories=len(pairs.named_categories(rows)),
            )
            for split in get_args(SplitName)
            if (rows := found.get((domain, split))) is not None
        }
        for domain in sorted({domain for domain, _ in found})
    }


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that can change the bytes of a build."""
    return {name: version(name) for name in LIBRARIES}


def dump(value: msgspec.Struct | Mapping[str, Any]) -> str:
    """Format JSON as in the files of a dataset folder."""
    return json.dumps(msgspec.to_builtins(value), indent=1, ensure_ascii=False) + "\n"
