"""Negatives that a source brings along: which category each names, and which are of no use."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from fdrd.negatives.catalogue import Catalogue
from fdrd.record import Negative
from fdrd.text.mentions import find_mentions, fix_articles, key


def parse_given(caption: str, positive: str, category: str, catalogue: Catalogue) -> Negative:
    """What kind of negative `caption` is, where `positive` describes an image of `category`.

    If it is the positive with another name in the place of the category's, it is a category negative of
    what the catalogue calls that name, or of "" where the catalogue does not know it. So it is, too, if
    it names one other category that the positive does not name. Else an attribute differs.
    """
    return _parsed(caption, positive, category, catalogue)[0]


def name_given(
    negatives: Iterable[Negative], positive: str, category: str, catalogue: Catalogue
) -> tuple[tuple[Negative, ...], tuple[str, ...]]:
    """Given negatives, each with what it names and the right article before that name.

    A negative that says "a azalea" is told from the positive, whose article is mended. For each negative
    that was, "negative_article" of `fdrd.reasons.RULES` comes back too.

    Args:
        negatives: with the category where the source says it.
        positive: the caption that they are negatives of.
        category: of the image.
        catalogue: of the domain.
    """
    found, rules = [], []
    for negative in negatives:
        name: str = negative.category
        if not name:
            negative, name = _parsed(negative.caption, positive, category, catalogue)
        mended = fix_articles(negative.caption, name) if name else negative.caption
        if mended != negative.caption:
            rules.append("negative_article")
        found.append(replace(negative, caption=mended))
    return tuple(found), tuple(rules)


def clean_given(
    negatives: Iterable[Negative], captions_of_image: Collection[str]
) -> tuple[tuple[Negative, ...], tuple[str, ...]]:
    """The usable ones of given negatives, and the rule by which each other one was dropped.

    The rules are "negative_equal" and "negative_repeated" of `fdrd.reasons.RULES`, one for each drop, in
    order. Captions are equal if they differ in nothing but case and white space.

    >>> swap = Negative("A cat.", "cat", "category")
    >>> clean_given([swap, swap, Negative("a dog.", "dog", "category")], ["A dog."])[1]
    ('negative_repeated', 'negative_equal')
    """
    true = {plain(caption) for caption in captions_of_image}
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
    """The form in which two captions are equal: without regard to case and white space."""
    return " ".join(caption.casefold().split())


def _parsed(
    caption: str, positive: str, category: str, catalogue: Catalogue
) -> tuple[Negative, str]:
    """The negative of `parse_given`, and what it names, in the words of the caption where they are known."""
    name = _put_in_place(caption, positive, category, catalogue)
    if name is not None:
        place = catalogue.place_of_key.get(key(name))
        named = "" if place is None else catalogue.names[place]
        return Negative(caption, named, "category"), name
    new = _named(caption, catalogue) - _named(positive, catalogue) - {category}
    if len(new) == 1:
        other = new.pop()
        return Negative(caption, other, "category"), other
    if new:
        return Negative(caption, "", "category"), ""
    return Negative(caption, category, "attribute"), category


def _put_in_place(caption: str, positive: str, category: str, catalogue: Catalogue) -> str | None:
    """The name that stands where the positive names its category; None if anything else differs."""
    own = catalogue.place.get(category)
    mentions = find_mentions(positive, catalogue.categories[own].pattern) if own is not None else []
    if not mentions:
        return None
    ends = [0, *(mention.end for mention in mentions)]
    starts = [*(mention.start for mention in mentions), len(positive)]
    parts = [re.escape(positive[end:start]) for end, start in zip(ends, starts, strict=True)]
    # The first place takes the name; the others repeat it, in the plural or in other capitals.
    later = r"(?:(?P=name)\w*)" if len(parts) > 2 else ""
    pattern = parts[0] + "(?P<name>.+?)" + later.join(parts[1:])
    found = re.fullmatch(_either_article(pattern), caption, re.IGNORECASE | re.DOTALL)
    return found["name"] if found else None


def _either_article(pattern: str) -> str:
    return re.sub(r"(?<![^\W_\\])[Aa]n?\\ (?=\(\?P<name>|\(\?:\(\?P=name)", r"an?\\ ", pattern)


def _named(caption: str, catalogue: Catalogue) -> set[str]:
    return {
        category.name
        for category in catalogue.categories
        if find_mentions(caption, category.pattern)
    }
