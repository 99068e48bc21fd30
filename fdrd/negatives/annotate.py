"""What fdrd adds to a pair: the attributes that its caption describes, and hard negatives."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from fdrd.negatives import Catalogue, clean_given, draw_negatives, make_catalogue, name_given
from fdrd.record import Record


@dataclass(frozen=True, slots=True)
class AnnotateConfig:
    """How many negatives a pair gets, how many of them swap an attribute, and the seed of the draws."""

    seed: int
    negatives: int
    attribute_negatives: int


def make_catalogues(records: Iterable[Record]) -> dict[str, Catalogue]:
    """What the drawing of negatives knows of each domain."""
    of_domain: dict[str, list[Record]] = {}
    for record in records:
        of_domain.setdefault(record.domain, []).append(record)
    return {domain: make_catalogue(found) for domain, found in of_domain.items()}


def with_given(record: Record, catalogue: Catalogue) -> Record:
    """The record, each of its given negatives with what it names; the rules that mended one are added."""
    negatives, rules = name_given(record.negatives, record.caption, record.category, catalogue)
    return replace(record, negatives=negatives, rules=(*record.rules, *rules))


def annotate(
    record: Record,
    captions_of_image: Collection[str],
    catalogue: Catalogue,
    config: AnnotateConfig,
) -> Record:
    """The record with `config.negatives` hard negatives: usable given ones first, drawn ones after.

    The rules by which given negatives were mended or dropped are added to `record.rules`. Fewer come
    back where the caption does not offer more.
    """
    named = with_given(record, catalogue)
    given, rules = clean_given(named.negatives, captions_of_image)
    drawn = draw_negatives(
        record,
        captions_of_image,
        catalogue,
        k=config.negatives + len(given),
        n_attribute=config.attribute_negatives,
        seed=config.seed,
    )
    # Drawn ones may repeat given ones, which is no flaw of the source and counted under no rule.
    negatives, _ = clean_given((*given, *drawn), captions_of_image)
    wanted = max(config.negatives, len(given))
    return replace(named, negatives=negatives[:wanted], rules=(*named.rules, *rules))
