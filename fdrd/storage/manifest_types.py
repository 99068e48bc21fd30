"""The manifest as types. `schemas/manifest.schema.json` is generated from them (`manifest_schema`)."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fdrd.reasons import Action

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


def manifest_schema() -> dict[str, Any]:
    """Return the JSON schema of a manifest."""
    schema = msgspec.json.schema(Manifest)
    for type in schema["$defs"].values():  # Python 3.13 removes the indentation of docstrings
        type["description"] = inspect.cleandoc(type["description"])
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "manifest.schema.json",
    }
    return head | schema
