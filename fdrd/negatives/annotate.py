"""Add hard negatives to the records of a build."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from fdrd.negatives import Catalog, clean_given, draw_batch, make_catalog, name_given
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
    records: Sequence[Record],
    true_texts: Sequence[Container[str]],
    catalog: Catalog,
    config: AnnotateConfig,
) -> list[Record]:
    """Return records of a domain with up to `config.negatives` hard negatives, usable given ones first.

    Rules that fixed or dropped given negatives, and "negatives_fewer", are added to `Record.rules`.

    Args:
        records: N records.
        true_texts: (N,) the true texts of each image, in the form of `fdrd.negatives.given.plain`.
        catalog: catalog of the domain.
        config: what to draw.
    """
    named = [with_given(each, catalog) if each.negatives else each for each in records]
    given = [
        clean_given(record.negatives, true) if record.negatives else ((), ())
        for record, true in zip(named, true_texts, strict=True)
    ]
    drawn = draw_batch(
        records,
        true_texts,
        catalog,
        k=[config.negatives + len(usable) for usable, _ in given],
        n_attribute=config.attribute_negatives,
        seed=config.seed,
    )
    annotated = []
    for record, (usable, rules), negatives, true in zip(
        named, given, drawn, true_texts, strict=True
    ):
        if usable:
            # A drawn negative that repeats a given one is not a flaw of the source, so its rule is not counted.
            negatives, _ = clean_given((*usable, *negatives), true)
            negatives = negatives[: max(config.negatives, len(usable))]
        if len(negatives) < config.negatives:
            rules = (*rules, "negatives_fewer")
        annotated.append(replace(record, negatives=negatives, rules=(*record.rules, *rules)))
    return annotated
