"""Find where a caption mentions a category: in any case, with any separators, singular or plural.

A name inside a longer word ("cat" in "bobcat") is not a mention, and neither is a name inside a longer name
of the catalog ("A380" in "A380-800"). Scripts without spaces between words have no such boundary.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

from fdrd.text.grammar import plural, with_article

_SEPARATORS = re.compile(r"[\s_\-‐‑–]+")
# Scripts without spaces: Thai, Lao, Burmese, Khmer, Chinese, Japanese, Korean.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff"
    r"\uff66-\uff9f\U00020000-\U0003ffff"
)
# A letter, a digit, or a combining mark (accents, Indic vowel signs). The pattern is case-sensitive here,
# where case makes no difference, because case folding makes each pattern take 20 ms to compile.
WORD = rf"(?-i:[^\W_{_UNSPACED}]|[\u0300-\u036f\u0900-\u0dff])"
"""Pattern of a character of a word, in scripts with spaces between words."""

_TOKEN = re.compile(rf"(?:{WORD})+|.", re.DOTALL)
# The same in ASCII without separators, in half the time.
_ASCII_TOKEN = re.compile(r"[^\W_]+|[^\w\s-]")
_MAX_LONGER = 4000  # letters of the longer names that one search considers; real captions have few

_AFTER_ARTICLE = re.compile(r"an?[\s_]+(?=([^\s_]))", re.IGNORECASE)


class _Alphabet(NamedTuple):
    """Building blocks of patterns: a letter of a word, a separator of words, an apostrophe."""

    word: str
    between: str
    apostrophe: str


_ANY = _Alphabet(WORD, r"[\s_\-‐‑–]+", "['’]")
_ASCII = _Alphabet(r"[^\W_]", r"[\s_\-]+", "'")
"""for ASCII captions: compiles many times as fast, which matters for thousands of names"""


class Mention(Struct, frozen=True, gc=False):
    """A mention of a name: `caption[start:end]`."""

    start: int
    end: int
    plural: bool


def key(name: str) -> str:
    """Return the normalized form in which all spellings of a name are equal.

    >>> key("Apply_Eye-Makeup") == key("apply eye  makeup")
    True
    """
    return _SEPARATORS.sub(" ", name).strip().casefold().replace("’", "'")


def spoken(name: str) -> str:
    """Return a name as written in a caption: `wild_cat` becomes `wild cat`."""
    return " ".join(name.replace("_", " ").split())


@dataclass(frozen=True)
class MentionPattern:
    """Finds the mentions of a name. It is compiled on first use and pickled without the compiled pattern.

    `longer` are the forms of each longer name that contains this one, in which it must not be found.
    """

    longer: tuple[tuple[str, ...], ...]
    plurals: tuple[str, ...]
    name: str

    def finditer(self, caption: str) -> Iterator[re.Match[str]]:
        """Yield matches with group `name` or `plural`, or without a group for a longer name."""
        return self._fitting(caption).finditer(caption)

    def sub(self, replacement: str, caption: str) -> str:
        """Replace each match in the caption."""
        return self._fitting(caption).sub(replacement, caption)

    def _fitting(self, caption: str) -> re.Pattern[str]:
        pattern = self._narrowed(caption) if self.longer else self
        return pattern._ascii if caption.isascii() else pattern._any

    def _narrowed(self, caption: str) -> "MentionPattern":
        """Return the pattern without longer names that the caption lacks, which would take long to compile."""
        text = _folded(caption)
        found, letters = [], 0
        for forms in self.longer:
            if any(form in text for form in _folded_forms(forms)):
                letters += len(forms[-1])
                if letters > _MAX_LONGER:
                    break
                found.append(forms)
        return _shared_pattern(tuple(found), self.plurals, self.name)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without compiled patterns."""
        return {"longer": self.longer, "plurals": self.plurals, "name": self.name}

    @cached_property
    def _ascii(self) -> re.Pattern[str]:
        return _compiled(self, _ASCII)

    @cached_property
    def _any(self) -> re.Pattern[str]:
        return _compiled(self, _ANY)


@lru_cache(maxsize=8192)
def _shared_pattern(
    longer: tuple[tuple[str, ...], ...], plurals: tuple[str, ...], name: str
) -> MentionPattern:
    return MentionPattern(longer, plurals, name)


@lru_cache(maxsize=8192)  # readers, filters and catalogs make equal patterns
def _compiled(pattern: MentionPattern, alphabet: _Alphabet) -> re.Pattern[str]:
    def spelled(names: Iterable[str]) -> str:
        return "|".join(_spelled(name, alphabet) for name in names)

    choices = [f"(?:{spelled(forms)})" for forms in pattern.longer]
    choices.append(f"(?P<plural>{spelled(pattern.plurals) or '(?!)'})")
    choices.append(f"(?P<name>{spelled([pattern.name])})")
    return re.compile("|".join(choices), re.IGNORECASE)


def mention_pattern(name: str, longer: Iterable[str] = ()) -> MentionPattern:
    """Return the pattern of a name. The `longer` names contain it."""
    ordered = sorted(longer, key=lambda other: (-len(other), other))
    return MentionPattern(
        longer=tuple(map(_forms, ordered)),
        plurals=tuple(text for text in _plurals(name) if key(text) != key(name)),
        name=name,
    )


def longer_names(names: Sequence[str]) -> list[list[str]]:
    """Return, for each name, the names in which it is mentioned."""
    keys = [key(name) for name in names]
    index = NameIndex([(name,) for name in names])
    longer: list[list[str]] = [[] for _ in names]
    for name, text in zip(names, keys, strict=True):
        for inner in index.find(name):
            if keys[inner] in text and keys[inner] != text:
                longer[inner].append(name)
    return longer


@lru_cache(maxsize=8192)
def category_pattern(category: str) -> MentionPattern:
    """Return the pattern of a category without considering longer names."""
    return mention_pattern(category)


def find_mentions(caption: str, pattern: MentionPattern) -> list[Mention]:
    """Return the mentions of the pattern's name, from left to right."""
    return [
        Mention(found.start(), found.end(), found.lastgroup == "plural")
        for found in pattern.finditer(caption)
        if found.lastgroup
    ]


def is_mentioned(caption: str, pattern: MentionPattern) -> bool:
    """Check if a caption mentions the pattern's name."""
    return any(found.lastgroup for found in pattern.finditer(caption))


def same_name(name: str, other: str) -> bool:
    """Check if two names differ only in spelling or number."""
    one, two = key(name), key(other)
    return one == two or key(plural(spoken(name))) == two or one == key(plural(spoken(other)))


@dataclass(frozen=True)
class NameIndex:
    """Finds which of many names a text may mention, in time that does not grow with their number.

    It misses no mention. It may report one that the pattern of the name does not find.
    """

    names: Sequence[tuple[str, ...]]
    """forms of each name"""

    def find(self, text: str) -> set[int]:
        """Return the indices of the names."""
        tokens = _tokens(text)
        found: set[int] = set()
        tree = self._tree
        for start in [index for index, token in enumerate(tokens) if token in tree]:
            node = tree
            for token in tokens[start : start + self._longest]:
                if token not in node:
                    break
                node = node[token]
                found.update(node.get(_END, ()))
        return found

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the tree."""
        return {"names": self.names}

    @cached_property
    def _longest(self) -> int:
        """The number of tokens of the longest form."""
        return max((len(_tokens(form)) for forms in self.names for form in forms), default=0)

    @cached_property
    def _tree(self) -> dict[str, Any]:
        """Each node has the next tokens of names, and the indices of the names that end there."""
        root: dict[str, Any] = {}
        for index, forms in enumerate(self.names):
            for form in forms:
                node = root
                for token in _tokens(form):
                    node = node.setdefault(token, {})
                node.setdefault(_END, []).append(index)
        return root


_END = ""  # no token


def _tokens(text: str) -> list[str]:
    """Return the words and marks of a text, folded, without the separators between words."""
    if text.isascii():
        return _ASCII_TOKEN.findall(text.lower())
    return [token for token in _TOKEN.findall(_folded(text)) if token != " "]


def _folded(text: str) -> str:
    """Return `key(text)` with the letters equal that patterns find equal beyond case folding."""
    return key(text if text.isascii() else text.replace("İ", "i").replace("ı", "i"))


@lru_cache(maxsize=8192)
def _folded_forms(forms: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(_folded, forms)))


@lru_cache(maxsize=8192)
def _forms(name: str) -> tuple[str, ...]:
    """Return the plurals of a name, and the name."""
    return (*_plurals(name), name)


def _plurals(name: str) -> tuple[str, ...]:
    """Return the plural and the regular plural that captions also use: "mayflys", "Siameses"."""
    regular = f"{name}s" if name[-1:].isascii() and name[-1:].isalpha() else name
    return tuple(dict.fromkeys((plural(spoken(name)), regular)))  # mostly the same


def _spelled(name: str, alphabet: _Alphabet) -> str:
    words = [word for word in _SEPARATORS.split(name) if word]
    if not words:
        return "(?!)"  # a name without letters has no mentions
    # The look-behind comes after the first letter: the search can skip to it, which is five times as fast.
    before = rf"(?<!{alphabet.word}.)(?<!\d-.)" if _bounded(words[0][0]) else ""
    after = rf"(?!{alphabet.word})(?!-\d)" if _bounded(words[-1][-1]) else ""
    first, rest = words[0][0], [words[0][1:], *words[1:]]
    text = re.escape(first) + before + alphabet.between.join(re.escape(word) for word in rest)
    return re.sub("['’]", alphabet.apostrophe, text) + after


def _bounded(letter: str) -> bool:
    return re.match(WORD, letter) is not None


def fix_articles(caption: str, category: str) -> str:
    """Fix the article before each mention of the category.

    An error like "a azalea" would distinguish a caption from its negatives, whose articles are correct.

    >>> fix_articles("This is a azalea. A azalea is pink.", "azalea")
    'This is an azalea. An azalea is pink.'
    """
    first = _SEPARATORS.sub("", category)[:1].lower()
    following = "".join(_AFTER_ARTICLE.findall(caption)).lower()
    # Beyond ASCII, case folding makes different letters equal.
    if first not in following and (first + following).isascii():
        return caption  # without compiling a pattern
    parts, end = [], 0
    for mention in find_mentions(caption, category_pattern(category)):
        name = caption[mention.start : mention.end]
        parts += [with_article(caption[end : mention.start], name), name]
        end = mention.end
    return "".join(parts) + caption[end:]
