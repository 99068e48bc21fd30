"""Where a caption names a category: any case, spaces or underscores or hyphens, singular or plural.

A name inside a longer word is no mention ("cat" in "bobcat"), nor is one inside a longer name of the
catalogue ("A380" in "A380-800"). Scripts that put no spaces between words have no such boundary.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from fdrd.text.grammar import plural, with_article

_SEPARATORS = re.compile(r"[\s_\-‐‑–]+")
# Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean: words there touch each other.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\uff66-\uff9f\U00020000-\U0003ffff"
)
# A letter, a digit, or a mark that continues one (combining accents, the vowel signs of India). Case is minded
# here, where it makes no difference: else each pattern takes 20 ms to compile, over 170,000 letters without case.
_WORD = rf"(?-i:[^\W_{_UNSPACED}]|[\u0300-\u036f\u0900-\u0dff])"


class _Alphabet(NamedTuple):
    """What patterns are made of: a letter of a word, what separates words, an apostrophe."""

    word: str
    between: str
    apostrophe: str


_ANY = _Alphabet(_WORD, r"[\s_\-‐‑–]+", "['’]")
_ASCII = _Alphabet("(?-i:[A-Za-z0-9])", r"[\s_\-]+", "'")
"""The same for captions of ASCII alone: compiled in a fifteenth of the time, which counts with a thousand names."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One mention: `caption[start:end]` is the name, in its plural form or not."""

    start: int
    end: int
    plural: bool


def key(name: str) -> str:
    """The form in which two spellings of one name are equal.

    >>> key("Apply_Eye-Makeup") == key("apply eye  makeup")
    True
    """
    return _SEPARATORS.sub(" ", name).strip().casefold().replace("’", "'")


def spoken(name: str) -> str:
    """A name as a caption would write it: `wild_cat` becomes `wild cat`."""
    return " ".join(name.replace("_", " ").split())


@dataclass(frozen=True)
class MentionPattern:
    """Finds where a caption mentions a name; compiled when it is first needed, in the process that needs it.

    Attributes:
        longer: forms of each longer name that contains this one, so that it is not found inside of them.
        plurals: forms of the plural.
        name: the name.
    """

    longer: tuple[tuple[str, ...], ...]
    plurals: tuple[str, ...]
    name: str

    def finditer(self, caption: str) -> Iterator[re.Match[str]]:
        """Matches whose group `name` or `plural` is set; one with neither is a mention of a longer name."""
        return self._fitting(caption).finditer(caption)

    def sub(self, replacement: str, caption: str) -> str:
        """The caption with something else in the place of each match."""
        return self._fitting(caption).sub(replacement, caption)

    def _fitting(self, caption: str) -> re.Pattern[str]:
        return self._ascii if caption.isascii() else self._any

    def __getstate__(self) -> dict[str, Any]:
        """Without what was compiled."""
        return {"longer": self.longer, "plurals": self.plurals, "name": self.name}

    @cached_property
    def _ascii(self) -> re.Pattern[str]:
        return self._compiled(_ASCII)

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return self._compiled(_ANY)

    def _compiled(self, alphabet: _Alphabet) -> re.Pattern[str]:
        def spelled(names: Iterable[str]) -> str:
            return "|".join(_spelled(name, alphabet) for name in names)

        choices = [f"(?:{spelled(forms)})" for forms in self.longer]
        choices.append(f"(?P<plural>{spelled(self.plurals) or '(?!)'})")
        choices.append(f"(?P<name>{spelled([self.name])})")
        return re.compile("|".join(choices), re.IGNORECASE)


def mention_pattern(name: str, longer: Iterable[str] = ()) -> MentionPattern:
    """The pattern of a name. The `longer` names are those that contain it."""
    ordered = sorted(longer, key=lambda other: (-len(other), other))
    return MentionPattern(
        longer=tuple((*_plurals(other), other) for other in ordered),
        plurals=tuple(text for text in _plurals(name) if key(text) != key(name)),
        name=name,
    )


@lru_cache(maxsize=8192)
def category_pattern(category: str) -> MentionPattern:
    """The pattern of a category of which no longer names are known."""
    return mention_pattern(category)


def find_mentions(caption: str, pattern: MentionPattern) -> list[Mention]:
    """The mentions of the name that `pattern` was made for, from left to right."""
    return [
        Mention(found.start(), found.end(), found.lastgroup == "plural")
        for found in pattern.finditer(caption)
        if found.lastgroup
    ]


def same_name(name: str, other: str) -> bool:
    """Whether two names are spellings or numbers of one name."""
    one, two = key(name), key(other)
    return one == two or key(plural(spoken(name))) == two or one == key(plural(spoken(other)))


def _plurals(name: str) -> tuple[str, ...]:
    """The plural, and the one that captions give a name by rule: "mayflys", "Siameses"."""
    regular = f"{name}s" if name[-1:].isascii() and name[-1:].isalpha() else name
    return plural(spoken(name)), regular


def _spelled(name: str, alphabet: _Alphabet) -> str:
    words = [word for word in _SEPARATORS.split(name) if word]
    if not words:
        return "(?!)"  # a name without a letter is never mentioned
    # What may not stand before the name is looked at after its first letter: so the search skips to that
    # letter, and is five times as fast.
    before = rf"(?<!{alphabet.word}.)(?<!\d-.)" if _bounded(words[0][0]) else ""
    after = rf"(?!{alphabet.word})(?!-\d)" if _bounded(words[-1][-1]) else ""
    first, rest = words[0][0], [words[0][1:], *words[1:]]
    text = re.escape(first) + before + alphabet.between.join(re.escape(word) for word in rest)
    return re.sub("['’]", alphabet.apostrophe, text) + after


def _bounded(letter: str) -> bool:
    return re.match(_WORD, letter) is not None


def fix_articles(caption: str, category: str) -> str:
    """The caption with the article right before each mention of its category.

    A caption that says "a azalea" is told from its negatives, all of which have their articles right.

    >>> fix_articles("This is a azalea. A azalea is pink.", "azalea")
    'This is an azalea. An azalea is pink.'
    """
    parts, end = [], 0
    for mention in find_mentions(caption, category_pattern(category)):
        name = caption[mention.start : mention.end]
        parts += [with_article(caption[end : mention.start], name), name]
        end = mention.end
    return "".join(parts) + caption[end:]
