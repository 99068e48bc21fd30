"""Short names: parts of a category's name that its captions use alone, such as "piano" for a grand piano.

A category swap replaces them too. Otherwise the rest of the caption names the true category.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, combinations

from msgspec import Struct

from fdrd.negatives.seeded_random import SeededRandom
from fdrd.record import Captions, Record, TaggedCaption
from fdrd.text.mentions import (
    Mention,
    MentionPattern,
    category_pattern,
    find_mentions,
    key,
    mention_pattern,
    spoken,
)

_MIN_CAPTIONS = 3
_MIN_LIFT = 2.0  # "flower" is as frequent for roses, so it is no short name of a cape flower
_MOST_CAPTIONS = 200  # of each category that are searched for short names
_MOST_WORDS = 8  # longer names have no short names
_BEGINS = ("", ".", "!", "?", ":")  # before the first word of a sentence
_POSSESSIVES = ("'s ", "’s ", "its ", "his ", "her ", "their ")
_WORD = re.compile(r"[^\W_]+")


class ShortName(Struct, frozen=True, gc=False):
    """Adjacent words of a name, with the number of words of the name before and after them."""

    text: str
    before: int
    after: int


@dataclass(frozen=True)
class ShortNames:
    """The short names of a category, the longest first, and the number of captions that use each.

    `rare` are parts with a capital or a digit that fewer captions use alone, the longest first.
    """

    counts: Mapping[ShortName, int]
    rare: tuple[ShortName, ...] = ()

    def find(
        self, record: Record | TaggedCaption, mentions: Sequence[Mention]
    ) -> dict[Mention, ShortName]:
        """Return the short names outside the mentions of the full name.

        Parts of the subject are none: the head of a flamingo is not a flamingo head.
        """
        found: dict[Mention, ShortName] = {}
        rare = [name for name in self.rare if name.text in record.caption]
        if not self.counts and not rare:
            return found
        taken = [(span.start, span.end) for span in record.attributes if span.type == "part"]
        taken += [(mention.start, mention.end) for mention in mentions]
        patterns = [*self._patterns, *((name, category_pattern(name.text)) for name in rare)]
        if rare:
            patterns.sort(key=lambda each: -len(each[0].text))
        for name, pattern in patterns:
            is_word = name in self.rare and " " not in name.text
            for mention in find_mentions(record.caption, pattern):
                free = all(mention.end <= start or end <= mention.start for start, end in taken)
                # Where a sentence begins, every word has a capital: "Red petals" does not name a Red Carnation.
                begins = is_word and record.caption[: mention.start].rstrip()[-1:] in _BEGINS
                if free and not begins and _is_name(record.caption, mention, name):
                    taken.append((mention.start, mention.end))
                    found[mention] = name
        return found

    def draw_like(self, other: ShortName, random: SeededRandom) -> str | None:
        """Draw the short name with the position of `other` in its name: a brand for a brand."""
        both = other.before, other.after
        alike = [name for name in self.counts if (name.before, name.after) == both]
        if not alike:
            ends = [not count for count in both]
            alike = [name for name in self.counts if [not name.before, not name.after] == ends]
        weights = list(accumulate(self.counts[name] for name in alike))
        return alike[random.weighted(weights)].text if alike else None

    def __getstate__(self) -> dict[str, object]:
        """Return the state without compiled patterns."""
        return {"counts": self.counts, "rare": self.rare}

    @cached_property
    def _patterns(self) -> list[tuple[ShortName, MentionPattern]]:
        return [(name, mention_pattern(name.text)) for name in self.counts]


def find_short_names(
    records: Mapping[str, Captions], patterns: Sequence[MentionPattern]
) -> list[ShortNames]:
    """Return the short names of each category, from its records and the pattern of its full name."""
    samples = {name: some[:: 1 + len(some) // _MOST_CAPTIONS] for name, some in records.items()}
    found = list(map(_counted, samples, samples.values(), patterns))
    usual = _usual(samples, {short.text for counts in found for short in counts})
    names = []
    for (name, sample), counts in zip(samples.items(), found, strict=True):
        lift = _MIN_LIFT * len(sample)
        often = {s: n for s, n in counts.items() if n >= max(_MIN_CAPTIONS, lift * usual[s.text])}
        few = (short for short in _candidates(name) if counts.get(short, 0) < _MIN_CAPTIONS)
        rare = [s for s in few if any(map(str.isupper, s.text)) or usual.get(s.text) == 0]
        names.append(ShortNames(often, tuple(rare)))
    return names


def _counted(name: str, records: Captions, pattern: MentionPattern) -> dict[ShortName, int]:
    """Return the number of captions with each candidate."""
    if len(records) < _MIN_CAPTIONS:
        return {}  # without compiling patterns
    candidates = ShortNames(dict.fromkeys(_candidates(name), 0))
    counts: Counter[ShortName] = Counter()
    if candidates.counts:
        for record in records:
            mentions = find_mentions(record.caption, pattern)
            counts.update(set(candidates.find(record, mentions).values()))
    return {short: counts[short] for short in candidates.counts if counts[short]}


def _candidates(name: str) -> list[ShortName]:
    """Return the endings of a name and its other parts with a capital or a digit, the longest first."""
    words = spoken(name).split()
    parts = [
        ShortName(" ".join(words[start:end]), start, len(words) - end)
        for start, end in combinations(range(len(words) + 1), 2)
        if end - start < len(words) <= _MOST_WORDS
    ]
    kept = [part for part in parts if not part.after or _is_proper(part.text)]
    return sorted(kept, key=lambda part: (-len(part.text), part.text, part.before))


def _is_proper(text: str) -> bool:
    return any(letter.isupper() or letter.isdigit() for letter in text)


def _is_name(caption: str, mention: Mention, name: ShortName) -> bool:
    """Check what surrounds a match: "its face" and "the side of" are no names."""
    if _is_proper(name.text):
        return caption[mention.start] == name.text[0]
    before = caption[: mention.start].lower()
    return not (before.endswith(_POSSESSIVES) or caption.startswith(" of ", mention.end))


def _usual(samples: Mapping[str, Captions], texts: set[str]) -> dict[str, float]:
    """Return the share of captions with each word, among the categories whose names lack it."""
    words = {key(text) for text in texts}
    naming: Counter[str] = Counter()
    having: Counter[str] = Counter()  # captions of the categories whose names have the word
    for name, records in samples.items():
        own_words = words.intersection(key(name).split())
        for record in records:
            naming.update(words.intersection(_WORD.findall(record.caption.lower())) - own_words)
        having.update(dict.fromkeys(own_words, len(records)))
    total = sum(map(len, samples.values()))
    return {text: naming[key(text)] / max(1, total - having[key(text)]) for text in texts}
