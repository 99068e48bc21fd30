"""Add hard negatives to the records of a build."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from fdrd.negatives import Catalog, clean_given, draw_negatives, make_catalog, name_given
from fdrd.record import Record


@dataclass(frozen=True, slots=True)
class AnnotateConfig:
    """Number of negatives per pair, how many of them swap an attribute, and the seed."""

    seed: int
    negatives: int
    attribute_negatives: int


def make_catalogs(records: Iterable[Record]) -> dict[str, Catalog]:
    """Return the catalog of each domain."""
    of_domain: dict[str, list[Record]] = {}
    for record in records:
        of_domain.setdefault(record.domain, []).append(record)
    return {domain: make_catalog(found) for domain, found in of_domain.items()}


def with_given(record: Record, catalog: Catalog) -> Record:
    """Return the record with its given negatives named and fixed, and the applied rules added."""
    negatives, rules = name_given(record.negatives, record.caption, record.category, catalog)
    return replace(record, negatives=negatives, rules=(*record.rules, *rules))


def annotate(
    record: Record,
    captions_of_image: Collection[str],
    catalog: Catalog,
    config: AnnotateConfig,
) -> Record:
    """Return the record with up to `config.negatives` hard negatives, usable given ones first.

    Rules that fixed or dropped given negatives are added to `record.rules`.
    """
    named = with_given(record, catalog) if record.negatives else record
    given, rules = clean_given(named.negatives, captions_of_image) if named.negatives else ((), ())
    drawn = draw_negatives(
        record,
        captions_of_image,
        catalog,
        k=config.negatives + len(given),
        n_attribute=config.attribute_negatives,
        seed=config.seed,
    )
    if not given:
        return replace(named, negatives=drawn, rules=(*named.rules, *rules))
    # A drawn negative that repeats a given one is not a flaw of the source, so its rule is not counted.
    negatives, _ = clean_given((*given, *drawn), captions_of_image)
    limit = max(config.negatives, len(given))
    return replace(named, negatives=negatives[:limit], rules=(*named.rules, *rules))
