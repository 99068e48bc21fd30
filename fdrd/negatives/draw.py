"""Draw the hard negatives of a record, as a pure function of record, catalog, seed and epoch.

A category swap replaces every mention of the category, in full or short, by another category. An attribute swap
replaces one value (`fdrd.negatives.edits`). `annotate` puts the usable negatives of the source first.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import NamedTuple

from msgspec.structs import replace

from fdrd.build_config import BuildConfig
from fdrd.negatives.catalog import Catalog, Category, make_catalog
from fdrd.negatives.given import clean_given, name_given, plain
from fdrd.negatives.odds import around
from fdrd.negatives.seeded_random import SeededRandom
from fdrd.negatives.short_names import ShortName
from fdrd.negatives.values import stated
from fdrd.record import Attribute, Negative, Record, id_in_domain
from fdrd.text.attributes import find_attributes
from fdrd.text.grammar import has_article, plural, with_article
from fdrd.text.mentions import Mention, find_mentions, key, spoken

_WORD = re.compile(r"[^\W_]{3,}")
_SENTENCE_END = (".", "!", "?", ":", "\n")


class _Named(NamedTuple):
    """A caption that names its category: index of the category, mentions in order, and which are short names."""

    caption: str
    category: int
    mentions: list[Mention]
    short: dict[Mention, ShortName]
    left: frozenset[str]
    """words of the name that the caption has elsewhere, too: "sedan" in "a black sedan, an Acura TL Sedan" """


def category_swaps(
    records: Sequence[Record], catalog: Catalog, k: Sequence[int], randoms: Sequence[SeededRandom]
) -> list[Iterator[Negative]]:
    """Return iterators over the negatives of N records of a domain, each with another category.

    There are none if the caption does not name its category, or names it within a quotation or a word ("web-like"). `k`
    (N,) are the numbers of negatives that the odds are balanced for, and `randoms` (N,) one for each record.
    """
    named = [_named(record, catalog) for record in records]
    drawn = [each for each in zip(named, k, randoms, strict=True) if each[0]]
    orders = iter(
        catalog.odds.orders(
            [each.category for each, _, _ in drawn if each],
            [around(each.caption, each.mentions) for each, _, _ in drawn if each],
            [count for _, count, _ in drawn],
            [random for _, _, random in drawn],
        )
    )
    return [
        _swaps(each, catalog, next(orders), random) if each else iter(())
        for each, random in zip(named, randoms, strict=True)
    ]


def _named(record: Record, catalog: Catalog) -> _Named | None:
    index = catalog.index_of.get(record.category)
    if index is None:
        return None
    category = catalog.categories[index]
    mentions = find_mentions(record.caption, category.pattern)
    if not mentions:
        return None
    short = category.short.find(record, mentions)
    mentions = sorted([*mentions, *short], key=lambda mention: mention.start)
    quoted = [(span.start, span.end) for span in record.attributes if span.type == "text"]
    for mention in mentions:
        is_part = record.caption[mention.end : mention.end + 1] == "-"
        if is_part or _overlaps(mention.start, mention.end, quoted):
            return None
    taken = [(span.start, span.end) for span in record.attributes]
    taken += [(mention.start, mention.end) for mention in mentions]
    return _Named(record.caption, index, mentions, short, _left(record, taken))


def _left(record: Record, taken: list[tuple[int, int]]) -> frozenset[str]:
    """Return the words of a proper name outside these parts of the caption; "side" may mean no car side."""
    name = {word.lower() for word in spoken(record.category).split() if not word.islower()}
    words = [word for word in _WORD.finditer(record.caption) if word[0].lower() in name]
    return frozenset(w[0].lower() for w in words if not _overlaps(w.start(), w.end(), taken))


def _overlaps(start: int, end: int, parts: list[tuple[int, int]]) -> bool:
    return any(start < last and first < end for first, last in parts)


def _swaps(
    named: _Named, catalog: Catalog, order: Iterator[int], random: SeededRandom
) -> Iterator[Negative]:
    """Yield the caption with other categories, in this order."""
    caption, mentions = named.caption, named.mentions
    gaps = _gaps(caption, mentions)
    needs_article = any(not m.plural and has_article(caption[: m.start]) for m in mentions)
    rest = caption[mentions[-1].end :]
    for other in order:
        category = catalog.categories[other]
        spelling = category.spellings[random.weighted(category.frequency)]
        if needs_article and not category.countable:
            continue
        if not named.left.issubset(key(category.name).split()):
            continue
        names = [
            _name(category, spelling, mention.plural, named.short.get(mention), random)
            for mention in mentions
        ]
        if not _doubled(gaps, names, rest):
            yield Negative(_joined(gaps, names) + rest, category.name, "category")


def _name(
    category: Category, spelling: str, plural_: bool, short: ShortName | None, random: SeededRandom
) -> str:
    """Return the text for one mention: a short name for a short name, if the category has one."""
    text = category.short.draw_like(short, random) if short else None
    if plural_:
        return plural(text) if text else category.plural
    return text or spelling


def _doubled(gaps: list[_Gap], names: list[str], rest: str) -> bool:
    """Check if a name repeats the word before or after it: "an Acura Acura", "an SUV SUV"."""
    texts = [text for gap, name in zip(gaps, names, strict=True) for text in (gap.text, name)]
    words = [found for text in [*texts, rest] if (found := text.split())]
    return any(_alike(one[-1:], other[:1]) or _alike(one, other) for one, other in pairwise(words))


def _alike(one: list[str], other: list[str]) -> bool:
    return key(" ".join(one)).strip(",.;:!?") == key(" ".join(other)).strip(",.;:!?")


class _Gap(NamedTuple):
    """The text before a mention, whether it ends with an article, and whether the mention has a capital."""

    text: str
    article: bool
    capital: bool


def _gaps(caption: str, mentions: list[Mention]) -> list[_Gap]:
    """Return the text before each mention, without earlier ones."""
    gaps, end = [], 0
    for mention in mentions:
        before = caption[end : mention.start]
        starts_sentence = not before.strip() if not end else before.rstrip().endswith(_SENTENCE_END)
        capital = starts_sentence and caption[mention.start].isupper()
        gaps.append(_Gap(before, not mention.plural and has_article(before), capital))
        end = mention.end
    return gaps


def _joined(gaps: list[_Gap], names: list[str]) -> str:
    """Return gaps and names in turn, with articles and capitals adjusted."""
    parts = []
    for gap, name in zip(gaps, names, strict=True):
        if gap.capital:
            name = name[:1].upper() + name[1:]
        parts += [with_article(gap.text, name) if gap.article else gap.text, name]
    return "".join(parts)


def draw_negatives(
    record: Record,
    captions_of_image: Collection[str],
    catalog: Catalog,
    *,
    k: int = 4,
    n_attribute: int = 0,
    seed: int = 0,
    epoch: int = 0,
) -> tuple[Negative, ...]:
    """Draw up to `k` distinct hard negatives, category swaps first.

    None equals a caption of the image or names the record's own category under another spelling.

    Args:
        record: only id, domain, caption, category and attributes are used.
        captions_of_image: all true captions of the image.
        catalog: catalog of the record's domain.
        k: number of negatives. Fewer are returned if the caption does not allow more.
        n_attribute: number of attribute swaps among them. If one kind runs out, the other fills in.
        seed: seed of all draws.
        epoch: training epoch, which changes the draws.
    """
    true = {plain(caption) for caption in captions_of_image}
    if len(true) > 1:
        for caption in captions_of_image:
            true.update(map(stated, find_attributes(caption, record.category)))
    return draw_batch(
        [record], [true], catalog, k=[k], n_attribute=n_attribute, seed=seed, epoch=epoch
    )[0]


def draw_batch(
    records: Sequence[Record],
    true_texts: Sequence[Container[str]],
    catalog: Catalog,
    *,
    k: Sequence[int],
    n_attribute: int = 0,
    seed: int = 0,
    epoch: int = 0,
) -> list[tuple[Negative, ...]]:
    """Return what `draw_negatives` returns for each of N records of a domain, in less time.

    `true_texts` (N,) are the true texts of each image: captions in the form of `plain`, and if it has several, what
    they state (`stated`). `k` (N,) are numbers of negatives, `n_attribute` is the number of attribute swaps among them.
    """

    def randoms(*names: object) -> list[SeededRandom]:
        return [SeededRandom(seed, epoch, id_in_domain(record), *names) for record in records]

    n_category = [each - min(each, n_attribute) for each in k]
    of_category = category_swaps(records, catalog, n_category, randoms("category"))
    of_attribute: Sequence[Iterator[Negative]] = [iter(()) for _ in records]
    if n_attribute > 0:
        edits = catalog.edits.orders(records, randoms("attribute", 0))
        of_attribute = list(map(_attribute_swaps, records, edits, true_texts))
    drawn = []
    for record, true, count, first, category, attribute in zip(
        records, true_texts, k, n_category, of_category, of_attribute, strict=True
    ):
        seen = {plain(record.caption)}
        category, attribute = _new(category, seen, true), _new(attribute, seen, true)
        swaps = list(islice(category, first))
        edited = list(islice(attribute, count - len(swaps)))
        swaps += islice(category, count - len(swaps) - len(edited))  # if one kind runs out
        drawn.append((*swaps, *edited))
    return drawn


def _attribute_swaps(
    record: Record, edits: Iterable[tuple[Attribute, str]], true: Container[str]
) -> Iterator[Negative]:
    """Yield negatives in which one attribute value is replaced by one that no caption of the image has."""
    for span, value in edits:
        if stated(Attribute(span.type, value, 0, 0)) in true:
            continue
        if record.caption[span.start].isupper():
            value = value[:1].upper() + value[1:]
        before = with_article(record.caption[: span.start], value)
        caption = before + value + record.caption[span.end :]
        yield Negative(caption, record.category, "attribute", span.type)


def _new(negatives: Iterable[Negative], seen: set[str], true: Container[str]) -> Iterator[Negative]:
    for negative in negatives:
        text = plain(negative.caption)
        if text not in seen and text not in true:
            seen.add(text)
            yield negative


def make_catalogs(records: Iterable[Record]) -> dict[str, Catalog]:
    """Return the catalog of each domain."""
    domains: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        domains[record.domain].append(record)
    return {domain: make_catalog(found) for domain, found in domains.items()}


def with_given(record: Record, catalog: Catalog) -> Record:
    """Return the record with its given negatives named and fixed, and the applied rules added."""
    negatives, rules = name_given(record.negatives, record.caption, record.category, catalog)
    return replace(record, negatives=negatives, rules=(*record.rules, *rules))


def annotate(
    records: Sequence[Record],
    true_texts: Sequence[Container[str]],
    catalog: Catalog,
    config: BuildConfig,
) -> list[Record]:
    """Return N records of a domain with up to `config.negatives` hard negatives, usable given ones first.

    Rules that fixed or dropped given negatives, and "negatives_fewer", are added to `Record.rules`. `true_texts` are
    the true texts of each image, in the form of `plain`.
    """
    named = [with_given(each, catalog) if each.negatives else each for each in records]
    cleaned = [
        clean_given(record.negatives, true) if record.negatives else ((), ())
        for record, true in zip(named, true_texts, strict=True)
    ]
    drawn = draw_batch(
        records,
        true_texts,
        catalog,
        k=[config.negatives + len(usable) for usable, _ in cleaned],
        n_attribute=config.attribute_negatives,
        seed=config.seed,
    )
    annotated = []
    parts = zip(named, cleaned, drawn, true_texts, strict=True)
    for record, (usable, rules), negatives, true in parts:
        if usable:
            # A drawn negative that repeats a given one is not a flaw of the source, so its rule is not counted.
            negatives, _ = clean_given((*usable, *negatives), true)
            negatives = negatives[: max(config.negatives, len(usable))]
        if len(negatives) < config.negatives:
            rules = (*rules, "negatives_fewer")
        annotated.append(replace(record, negatives=negatives, rules=(*record.rules, *rules)))
    return annotated
