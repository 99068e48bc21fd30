"""The manifest of a built dataset: inputs, counts of kept and rejected records, digests of every shard.

It contains no time, host or worker count, so that the same input gives the same bytes. A manifest is read as these
types, and `schemas/manifest.schema.json` is generated from them (`msgspec.json.schema`).
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
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

import msgspec
import numpy as np
from msgspec import Meta, Struct

from fdrd.build_config import BuildConfig
from fdrd.curation.pair_table import PairTable, annotation_file
from fdrd.errors import FdrdError, first_line
from fdrd.files.paths import packaged
from fdrd.kinds import refuse_other
from fdrd.reasons import REASONS, Action, Rejection
from fdrd.record import class_labels

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

    from fdrd.sources import Domain

LIBRARIES = ("fdrd", "datasets", "pillow", "pyarrow")  # their versions can change the bytes
_LONGEST = 400  # characters of a message, which may repeat any part of a manifest

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Number = int | float
Counts = dict[str, Count]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Folder = Annotated[
    str, Meta(pattern=r"^(?!\.{1,2}$)[^/\\\u0000-\u001f\ud800-\udfff]+$(?!\n)")
]  # one part of a path
ColumnName = Annotated[str, Meta(min_length=1, max_length=64)]
ColumnType = Literal["string", "int64", "float64", "bool"]
SplitName = Literal["train", "validation", "test"]


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of the build (`fdrd.build_config.BuildConfig`)."""

    name: str
    seed: int
    negatives: Count
    attribute_negatives: Count
    max_pixels: Positive
    min_side: Positive
    max_aspect: Annotated[int, Meta(ge=1)] | Annotated[float, Meta(ge=1)]
    max_caption: Positive
    shard_bytes: Positive
    format: Literal["arrow", "parquet"]
    backbone: str | None
    policy: dict[str, Action]


class DomainEntry(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Name and reader of a domain, and what its domain.toml says."""

    name: Folder
    reader: str
    license: str = ""
    homepage: Annotated[str, Meta(pattern=r"^https?://[^\s<>\"]+$(?!\n)")] = ""
    citation: str = ""
    meta_categories: list[str] = []


class RecordCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """Records read = kept + rejected."""

    read: int
    kept: Positive
    rejected: Count


class FileCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """Records of an annotation file: read = kept + rejected, which are counted by reason."""

    read: int
    kept: int
    rejected: Counts


class SplitCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """Distinct values of a split."""

    pairs: int
    images: int
    captions: int
    categories: int


class TokenCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """Caption lengths of a split in tokens; `over` counts rows beyond the limit."""

    median: Number
    max: int
    over: int


class Tokens(Struct, frozen=True, forbid_unknown_fields=True):
    """Caption lengths, including begin and end tokens, by domain and split; `limit` is what the text encoder reads."""

    tokenizer: str
    limit: Positive
    splits: dict[str, dict[str, TokenCounts]]


class Shard(Struct, frozen=True, forbid_unknown_fields=True):
    """A shard: its file, digest and size; `key` is a digest of everything that determines the bytes."""

    path: Annotated[
        str,
        Meta(
            pattern=r"^data/(?!\.{1,2}/)[^/\\\u0000-\u001f\ud800-\udfff]+"
            r"/(train|validation|test)-[0-9]{5}-of-[0-9]{5}\.(arrow|parquet)$(?!\n)"
        ),
    ]
    domain: Folder
    split: SplitName
    rows: Positive
    bytes: Positive
    sha256: Sha256
    key: Sha256
    rules: Counts

    def __hash__(self) -> int:
        return hash(self.sha256)  # a dict has no hash


class ReviewCounts(Struct, frozen=True, forbid_unknown_fields=True):
    """Reviewers' decisions that the build applied. `verified` records were accepted or corrected."""

    sha256: Sha256
    applied: Count
    stale: Count
    verified: dict[str, dict[SplitName, Count]]


class Manifest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """manifest.json of a built dataset: inputs, counts of kept and rejected records, digests of every shard.

    Attributes:
        schema_version: version of this format.
        name: name for `load_dataset` on the machine that built it.
        config: settings of the build.
        libraries: versions of the libraries that determine the bytes.
        backbone: a Hub id or `embedded`; never code.
        domains: name, layout, license and citation of each domain.
        records: counts of records.
        files: counts by annotation file.
        rejected: rejected records by reason.
        rules: kept records by rule that normalized them.
        reported: records that the policy kept in spite of a reason, by reason.
        licenses: kept records by license.
        splits: by domain, then split.
        tokens: lengths of captions; null if they were not counted.
        categories: names of the class labels, in order.
        shards: every shard.
        digest: digest of the paths and digests of all shards.
        decisions: counts of a review; absent without one.
        columns: columns of the source that fdrd does not know, with their types; absent if there are none.
    """

    schema_version: Literal[2]
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$(?!\n)")]
    config: Config
    libraries: dict[str, str]
    backbone: (
        Annotated[
            str,
            Meta(
                pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*(@[A-Za-z0-9_.-]+)?|embedded)$(?!\n)"
            ),
        ]
        | None
    )
    domains: Annotated[list[DomainEntry], Meta(min_length=1)]
    records: RecordCounts
    files: dict[str, FileCounts]
    rejected: Counts
    rules: Counts
    reported: Counts
    licenses: Counts
    splits: Annotated[dict[Folder, dict[SplitName, SplitCounts]], Meta(min_length=1)]
    tokens: Tokens | None
    categories: list[str]
    shards: Annotated[list[Shard], Meta(min_length=1)]
    digest: Sha256
    decisions: ReviewCounts | None = None
    columns: dict[ColumnName, ColumnType] = {}

    def __repr__(self) -> str:
        records = f"{self.records.kept:,} records kept, {self.records.rejected:,} rejected"
        return f"Manifest({self.name!r}: {records}, {len(self.shards):,} shards)"


@cache
def schema(name: str) -> Validator:
    """Return the validator of `schemas/<name>.schema.json`."""
    from jsonschema import Draft202012Validator

    text = packaged(f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    return Draft202012Validator(json.loads(text))


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a built dataset; raise `FdrdError` for a bad one, or a folder of another kind."""
    path = folder / "manifest.json"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        flaw = _inconsistency(manifest)
    except (FileNotFoundError, NotADirectoryError):
        refuse_other(folder, "a dataset")
        flaw = "contains no manifest.json" if folder.is_dir() else "is not a folder"
        raise FdrdError(
            f"{folder} {flaw}; `fdrd build SOURCE --out {folder}` writes a dataset"
        ) from None
    except msgspec.ValidationError as error:
        flaw = first_line(error)
        flaw = flaw if len(flaw) <= _LONGEST else f"{flaw[:_LONGEST]}..."
    except (OSError, ValueError, RecursionError) as error:
        raise FdrdError(f"{path} is not JSON ({error}); build the dataset again") from None
    if flaw:
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
    if "fdrd" not in manifest.libraries:
        return "the version of fdrd is missing"
    reviewed = manifest.decisions.verified if manifest.decisions else {}
    for domain, splits in reviewed.items():
        if any(count and (domain, split) not in counted for split, count in splits.items()):
            return "a review counts records of a domain or split without shards"
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
        schema_version=2,
        name=config.name,
        config=Config(**asdict(config)),
        libraries=library_versions(),
        backbone=config.backbone,
        domains=[DomainEntry(each.name, each.reader, **each.about.to_json()) for each in domains],
        records=RecordCounts(kept + len(rejected), kept, len(rejected)),
        files=_account(pairs, rejected),
        rejected=_counted(rejection.reason for rejection in rejected),
        rules={rule: rules[rule] for rule in sorted(rules) if rule not in REASONS},
        reported={reason: rules[reason] for reason in sorted(rules) if reason in REASONS},
        licenses=dict(sorted(pairs.count("license").items())),
        splits=_split_counts(pairs),
        tokens=msgspec.convert(tokens, Tokens),
        categories=sorted(class_labels(pairs.named_categories()).values()),
        shards=shards,
        digest=digest_of_shards(shards),
        decisions=msgspec.convert(decisions, ReviewCounts) if decisions else None,
        columns=cast("dict[str, ColumnType]", dict(extra)),
    )


def digest_of_shards(shards: Iterable[Shard]) -> str:
    """Return the digest of a dataset, computed from the paths and digests of its shards."""
    digests = "".join(f"{shard.path} {shard.sha256}\n" for shard in shards)
    return hashlib.sha256(digests.encode()).hexdigest()


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _account(pairs: PairTable, rejected: Iterable[Rejection]) -> dict[str, FileCounts]:
    """Count records read, kept, and rejected by reason, for each annotation file."""
    files_kept = pairs.count("file")
    reasons: dict[str, list[str]] = {file: [] for file in files_kept}
    for rejection in rejected:
        reasons.setdefault(annotation_file(rejection.file), []).append(rejection.reason)
    return {
        file: FileCounts(
            read=files_kept[file] + len(reasons[file]),
            kept=files_kept[file],
            rejected=_counted(reasons[file]),
        )
        for file in sorted(reasons)
    }


def _split_counts(pairs: PairTable) -> dict[str, dict[SplitName, SplitCounts]]:
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
