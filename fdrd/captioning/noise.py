"""Noise filters: each rejects one kind of caption that does not belong in a retrieval dataset.

A filter is a function of a `Draft`. Its name in `FILTERS` is the rejection reason. docs/captions.md measures how good
they are. The feedback texts are sent to models and are part of the key of cached answers.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from fdrd.captioning.wording import breaks_off, describe_directly, ends
from fdrd.record import Record
from fdrd.text import mentions
from fdrd.text.mentions import MentionPattern, category_pattern, is_mentioned, key
from fdrd.text.tokens import CLIP_LIMIT, estimate_clip_tokens

MIN_WORDS = 3
_EXAMPLES = 3  # of each filter in a report
_TRIPLED = re.compile(r" ((?:\S+ ){1,8})\1\1")  # the same 1 to 8 words three times in a row
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_QUOTED = re.compile(r"[\"“][^\"“”]*[\"”]")  # text in the image may say anything
_NOUN = r"(?:image|picture|photo|photograph|snapshot|caption|description)"
_WHERE = re.compile(  # "on the left side of the image" only locates something
    r"\b(?:sides?|corners?|top|bottom|left|right|cent(?:er|re)|middle|edges?|background|foreground) of "
    rf"(?:the|this) {_NOUN}\b",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\b(?:i['’]?m sorry|i am sorry|i apologi[sz]e|i(?:['’]m| am)? (?:unable|not able)"
    r"|i (?:can ?not|can['’]?t|won['’]?t)"
    r"|as an ai|as a (?:large )?language model"
    r"|(?:cannot|can['’]t|unable to) (?:assist|help|comply|describe|identify|view|see)"
    r"|no image (?:was|is|has been) (?:provided|attached|given)|please (?:provide|upload|share) (?:an?|the) "
    rf"{_NOUN})",
    re.IGNORECASE,
)
_META = re.compile(
    rf"\b(?:the|this|that|an?) (?:\w+ )?{_NOUN} (?:also )?(?:itself )?"
    r"(?:features?|shows?|captures?|depicts?|displays?|presents?|showcases?|contains?|portrays?|illustrates?|includes?"
    r"|highlights?|reveals?|focus(?:es)?|appears?|seems?|conveys?|has"
    r"|is (?:taken|captured|focused|dominated|clear|blurry|likely))\b"
    rf"|\b(?:in|of|from|throughout|within) (?:the|this) {_NOUN}\b"
    rf"|\b(?:depicted|shown|captured|seen|visible|pictured) in (?:the|this) {_NOUN}\b"
    r"|\b(?:let me know|feel free to|i hope this|based on (?:the|this|your)|as requested|word count)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """The input of a filter: a caption, normalized as in a build, and what it must fit.

    `categories` are all of the domain. `cut` says that the answer ended at the token limit. `score` is the cosine of
    image and caption under a backbone.
    """

    caption: str
    category: str
    categories: tuple[str, ...] = ()
    tokens: int = 0
    max_tokens: int = CLIP_LIMIT
    cut: bool = False
    score: float | None = None
    min_score: float | None = None


Filter = Callable[[Draft], bool]
FILTERS: dict[str, tuple[str, Filter]] = {}
"""Feedback for the model and test, by name, in the order in which the filters run."""


def _filter(feedback: str) -> Callable[[Filter], Filter]:
    def register(test: Filter) -> Filter:
        FILTERS[test.__name__] = (feedback, test)
        return test

    return register


@_filter("It refuses to describe the picture, or says that it cannot.")
def refusal(draft: Draft) -> bool:
    """Reject statements about what the model cannot do."""
    return _REFUSAL.search(_QUOTED.sub(" ", draft.caption)) is not None


@_filter('It speaks of the picture ("the image shows") and not of what is there.')
def meta_talk(draft: Draft) -> bool:
    """Reject captions that talk about the image itself. CLIP's own form "A photo of a wren" passes."""
    return _META.search(_WHERE.sub(" ", _QUOTED.sub(" ", draft.caption))) is not None


@_filter(f"It has fewer than {MIN_WORDS} words beside the name of its subject.")
def too_short(draft: Draft) -> bool:
    """Reject captions that say nothing beyond the category."""
    return len(_words(category_pattern(draft.category).sub(" ", draft.caption))) < MIN_WORDS


@_filter("It says the same thing again and again.")
def repetition(draft: Draft) -> bool:
    """Reject a repeated sentence, words repeated three times in a row, or a word that is a third of the caption."""
    parts = re.split(r"[.!?;]+(?:\s|$)", draft.caption)
    clauses = [clause for part in parts if (clause := " ".join(_words(part))).count(" ") > 1]
    words = _words(draft.caption)
    if len(set(clauses)) < len(clauses) or _TRIPLED.search(f" {' '.join(words)} "):
        return True
    content = Counter(word for word in words if len(word) > 3)
    return len(words) >= 12 and max(content.values(), default=0) > len(words) / 3


@_filter("It calls the subject by the name of another category, and not by its own.")
def category_contradicted(draft: Draft) -> bool:
    """Reject captions that name another category of the domain and not their own."""
    return category_not_named(draft) and any(_other_categories(draft))


@_filter("It does not call the subject by its name.")
def category_not_named(draft: Draft) -> bool:
    """Reject captions that do not name their category."""
    return not is_mentioned(draft.caption, category_pattern(draft.category))


@_filter("It ends in the middle of a sentence.")
def cut_short(draft: Draft) -> bool:
    """Reject an incomplete last sentence. A missing final period alone does not count."""
    return (draft.cut and not ends(draft.caption)) or breaks_off(draft.caption)


@_filter("Its first sentence alone is longer than what CLIP reads.")
def too_long(draft: Draft) -> bool:
    """Reject captions that CLIP would truncate."""
    return draft.tokens > draft.max_tokens


@_filter("CLIP finds little in common between the caption and the picture.")
def clip_score(draft: Draft) -> bool:
    """Reject captions whose score is below the user's limit."""
    score, minimum = draft.score, draft.min_score
    return score is not None and minimum is not None and score < minimum


def first_problem(draft: Draft, without: Collection[str] = ()) -> str:
    """Return the name of the first filter that rejects a caption, or "".

    >>> first_problem(Draft("The image shows a wren on a post.", "wren"))
    'meta_talk'
    """
    return next(_problems(draft, without), "")


def _problems(draft: Draft, without: Collection[str] = ()) -> Iterator[str]:
    return (name for name, (_, test) in FILTERS.items() if name not in without and test(draft))


def _other_categories(draft: Draft) -> Iterator[str]:
    """Yield other categories that the caption names, unless their name is part of its own category."""
    category, text = key(draft.category), draft.caption.casefold()
    for other in draft.categories:
        name = key(other)
        if name[:3] not in text or name in category or mentions.same_name(other, draft.category):
            continue  # three letters rule out most categories, which is fast
        if is_mentioned(draft.caption, _pattern_of(other, draft.categories)):
            yield other


@lru_cache(maxsize=65_536)
def _pattern_of(name: str, names: tuple[str, ...]) -> MentionPattern:
    plain = key(name)
    longer = [other for other in names if plain in key(other) and plain != key(other)]
    return mentions.mention_pattern(name, longer)


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]


@dataclass(frozen=True, slots=True)
class FilterCount:
    """Rows that a filter rejects, that `fdrd caption` would fix, that no other filter rejects; digests and keys."""

    rows: int
    fixed: int
    alone: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NoiseReport:
    """Rows of one file or domain: all, rejected, and rejected after rewording by `fdrd caption`."""

    domain: str
    rows: int
    rejected: int
    after: int
    filters: dict[str, FilterCount]


def count_noise(
    records: Iterable[Record], scores: Sequence[float] = (), min_score: float | None = None
) -> tuple[NoiseReport, ...]:
    """Count what each filter would reject, by domain. `scores` has the CLIP score of each record, or nothing."""
    domains: dict[str, list[tuple[Record, float | None]]] = defaultdict(list)
    for index, record in enumerate(records):
        domains[record.domain].append((record, scores[index] if scores else None))
    return tuple(_count_domain(name, domains[name], min_score) for name in sorted(domains))


def digest(caption: str) -> str:
    """Return 12 digits of the caption's sha256, to cite a caption without its words.

    >>> digest("A wren.")
    'd308d2642302'
    """
    return hashlib.sha256(caption.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _count_domain(
    domain: str, rows: Sequence[tuple[Record, float | None]], min_score: float | None
) -> NoiseReport:
    categories = tuple(sorted({record.category for record, _ in rows}))
    judged: list[tuple[Record, list[str], list[str]]] = []
    for record, score in rows:
        text, tokens = record.caption, estimate_clip_tokens(record.caption)
        draft = Draft(text, record.category, categories, tokens, score=score, min_score=min_score)
        before = list(_problems(draft))
        reworded = replace(draft, caption=describe_directly(text))
        judged.append((record, before, list(_problems(reworded)) if before else []))
    filters = {}
    for name in FILTERS:
        found = [row for row in judged if name in row[1]]
        cited = {digest(record.caption): record.source.origin for record, *_ in found}
        keys = [(each, cited[each].partition(": ")[2]) for each in sorted(cited)[:_EXAMPLES]]
        fixed = sum(name not in after for *_, after in found)
        alone = sum(before == [name] for _, before, _ in found)
        filters[name] = FilterCount(len(found), fixed, alone, tuple(keys))
    rejected = sum(bool(before) for _, before, _ in judged)
    return NoiseReport(domain, len(rows), rejected, sum(bool(row[2]) for row in judged), filters)
