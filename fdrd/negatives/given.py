"""Negatives that a source provides: which category each names, and which are usable."""

import re
from collections.abc import Container, Iterable

from msgspec.structs import replace

from fdrd.negatives.catalog import Catalog
from fdrd.record import Negative
from fdrd.text.mentions import WORD, find_mentions, fix_articles, key

_ARTICLE_BEFORE_NAME = re.compile(r"(?<![^\W_\\])[Aa]n?\\ (?=\(\?P<name>|\(\?:\(\?P=name)")


def name_given(
    negatives: Iterable[Negative], positive: str, category: str, catalog: Catalog
) -> tuple[tuple[Negative, ...], tuple[str, ...]]:
    """Return given negatives with their category and the correct article before it; an attribute keeps its type.

    The article of the positive, a true caption of an image of `category`, is fixed as well, so an error in a negative
    would give it away. The rule "negative_article" of `fdrd.reasons.RULES` is returned once for each negative that was
    fixed.
    """
    found, rules = [], []
    for negative in negatives:
        name: str = negative.category
        if not name:
            attribute_type = negative.attribute_type
            negative, name = parse_given(negative.caption, positive, category, catalog)
            if negative.kind == "attribute":
                negative = replace(negative, attribute_type=attribute_type)
        fixed = fix_articles(negative.caption, name) if name else negative.caption
        if fixed != negative.caption:
            rules.append("negative_article")
        found.append(replace(negative, caption=fixed))
    return tuple(found), tuple(rules)


def clean_given(
    negatives: Iterable[Negative], true: Container[str]
) -> tuple[tuple[Negative, ...], tuple[str, ...]]:
    """Return the usable negatives of a record, and the rule by which each of the others was dropped.

    The rules are "negative_equal" and "negative_repeated" of `fdrd.reasons.RULES`. Case and white space are ignored in
    comparisons. `true` has the true texts of the image, in the form of `plain`.

    >>> swap = Negative("A cat.", "cat", "category")
    >>> clean_given([swap, swap, Negative("A Dog.", "dog", "category")], {"a dog."})[1]
    ('negative_repeated', 'negative_equal')
    """
    kept: dict[str, Negative] = {}
    rules = []
    for negative in negatives:
        text = plain(negative.caption)
        if text in true:
            rules.append("negative_equal")
        elif text in kept:
            rules.append("negative_repeated")
        else:
            kept[text] = negative
    return tuple(kept.values()), tuple(rules)


def plain(caption: str) -> str:
    """Return the caption without differences in case and white space."""
    return " ".join(caption.casefold().split())


def parse_given(
    caption: str, positive: str, category: str, catalog: Catalog
) -> tuple[Negative, str]:
    """Return `caption` as a negative of `positive`, a caption of an image of `category`, and the name that it uses.

    It is a category negative if it replaces the category's name in the positive, or if it names one other category of
    the catalog. Its category is "" if the catalog does not know the name. In all other cases it is an attribute
    negative.
    """
    name = _inserted_name(caption, positive, category, catalog)
    if name is not None:
        index = catalog.index_of_key.get(key(name))
        named = "" if index is None else catalog.names[index]
        return Negative(caption, named, "category"), name
    new = _named(caption, catalog) - _named(positive, catalog) - {category}
    if not new:
        return Negative(caption, category, "attribute"), category
    other = new.pop() if len(new) == 1 else ""
    return Negative(caption, other, "category"), other


def _inserted_name(caption: str, positive: str, category: str, catalog: Catalog) -> str | None:
    """Return what replaces the category in the positive, or None if anything else differs."""
    index = catalog.index_of.get(category)
    mentions = [] if index is None else find_mentions(positive, catalog.categories[index].pattern)
    if not mentions:
        return None
    ends = [0, *(mention.end for mention in mentions)]
    starts = [*(mention.start for mention in mentions), len(positive)]
    parts = [re.escape(positive[end:start]) for end, start in zip(ends, starts, strict=True)]
    # The first mention captures the name. The others repeat it, in the plural or with other capitals.
    # The rest of a word is matched at once: trying its parts would take exponential time.
    later = rf"(?:(?P=name)(?:{WORD})*+)" if len(parts) > 2 else ""
    pattern = parts[0] + "(?P<name>.+?)" + later.join(parts[1:])
    pattern = re.sub(_ARTICLE_BEFORE_NAME, r"an?\\ ", pattern)
    found = re.fullmatch(pattern, caption, re.IGNORECASE | re.DOTALL)
    return found["name"] if found else None


def _named(caption: str, catalog: Catalog) -> set[str]:
    possible = (catalog.categories[index] for index in catalog.index.find(caption))
    return {category.name for category in possible if find_mentions(caption, category.pattern)}
