"""Captions from a grammar: what is said of a sighting, in which words, in which order.

A caption is put together with its attribute spans marked (`[forked|shape]`) and read into plain
text and spans at the end, so that a span is exact however the sentence was built.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.sighting import FAR, NEAR, Sighting
from fdrd.field_guide.traits import Level, Trait
from fdrd.record import Attribute

VAGUE_SHARE = 0.1
"""Share of captions that name the category and tell one thing at most."""

MAX_WORDS = 40
"""Far below the 77 tokens that CLIP reads: a made-up name is cut into five or six of them."""

NUMBERS = {2: ("two", "a pair of"), 3: ("three", "a group of three")}
PLACE_WORDS = {
    "grass": ("on [grass]", "in the [grass]"),
    "stone": ("on [stone]", "on bare [stone]"),
    "wood": ("on [wood]", "on bare [wood]"),
}
LIGHT_WORDS = {
    "evening": ("in [warm evening light]", "in [golden light]"),
    "dusk": ("in [blue dusk light]", "at [dusk]"),
}
OPENERS = (
    "", "", "", "a photo of ", "a picture of ", "an image of ", "a view of ", "seen here: ",
    "this is ", "here is ",
)  # fmt: skip
VAGUE_FORMS = (
    "{name}{fact}.",
    "a picture of {name}{fact}.",
    "probably {name}{fact}.",
    "nothing but {name}{fact}.",
    "{name}, as far as one can tell{fact}.",
    "another view of {name}{fact}.",
)
MARK = re.compile(r"\[([^|\]]+)\|([a-z]+)\]")
OWN = re.compile(r"\bits?\b")
"""Words that speak of one subject, and need `each` where there are several."""


def caption(sighting: Sighting, size: int) -> tuple[str, tuple[Attribute, ...]]:
    """The caption of a sighting drawn in a frame of `size` pixels, and its attribute spans."""
    chance = Chance(*sighting.key, "caption")
    speaker = _Speaker(sighting, size, chance)
    speak = speaker.vague if chance.happens(VAGUE_SHARE) else speaker.full
    while len((text := speak()).split()) > MAX_WORDS:
        pass  # every try draws other words and other things to say
    return unmark(capitalised(text))


def unmark(marked: str) -> tuple[str, tuple[Attribute, ...]]:
    """Plain text and spans of a marked caption.

    >>> unmark("A [red|colour] fish.")
    ('A red fish.', (Attribute(type='colour', value='red', start=2, end=5),))
    """
    text, spans, read = "", [], 0
    for match in MARK.finditer(marked):
        text += marked[read : match.start()]
        spans.append(Attribute(match[2], match[1], len(text), len(text) + len(match[1])))
        text += match[1]
        read = match.end()
    return text + marked[read:], tuple(spans)


def typed(words: str, kind: str) -> str:
    """The words with `kind` as the type of every mark that names none.

    >>> typed("[two|count] [spots]", "pattern")
    '[two|count] [spots|pattern]'
    """
    return re.sub(r"\[([^|\]]+)\]", rf"[\1|{kind}]", words)


def capitalised(words: str) -> str:
    """The words with their first letter as a capital, inside a mark or not.

    >>> capitalised("[two|count] fish"), capitalised("a fish")
    ('[Two|count] fish', 'A fish')
    """
    first = 1 if words.startswith("[") else 0
    return words[:first] + words[first].upper() + words[first + 1 :]


def article(words: str) -> str:
    """The words behind `a` or `an`.

    >>> article("[orange|colour] bird"), article("Marlow's Tarrel")
    ('an [orange|colour] bird', "a Marlow's Tarrel")
    """
    return ("an " if words.lstrip("[")[0] in "aeiouAEIOU" else "a ") + words


def listed(items: Sequence[str]) -> str:
    """The items, one at least, as a list in a sentence.

    >>> listed(["a horn", "red legs", "two spots"])
    'a horn, red legs and two spots'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


class _Speaker:
    """Chooses what to say about one sighting, and says it."""

    def __init__(self, sighting: Sighting, size: int, chance: Chance):
        self._sighting = sighting
        self._chance = chance
        self._pixels = sighting.share * size
        self._many = sighting.count > 1
        self._kind = sighting.category.kind
        self._name = sighting.category.name

    def vague(self) -> str:
        """A sentence that names the category and tells at most one thing."""
        name = self._subject(None) if self._many else article(self._name)
        fact = self._chance.pick(["", "", *(f", {doing}" for doing in self._doings())])
        return self._chance.pick(VAGUE_FORMS).format(name=name, fact=fact)

    def full(self) -> str:
        """A sentence or two about three to six attributes."""
        chance = self._chance
        typical = [trait for trait in self._visible("genus", "species") if trait.slot == "with"]
        said = chance.shuffled(typical)[: chance.weighted((1, 2, 3), (2, 3, 2))]
        said += chance.shuffled(self._visible("individual"))[
            : chance.weighted((0, 1, 2), (2, 3, 1))
        ]
        details = [self._say(trait) for trait in chance.shuffled(said)]
        colour = next(trait for trait in self._kind.traits if trait.slot == "adjective")
        subject = self._subject(self._say(colour) if chance.happens(0.7) else None)
        doings = chance.shuffled(self._doings())[: chance.weighted((1, 2, 3), (2, 4, 1))]
        setting = self._setting(chance.weighted(("place", "light", ""), (3, 2, 5)))
        return self._sentence(subject, ", ".join(doings), details, setting)

    def _sentence(self, subject: str, doing: str, details: list[str], setting: str) -> str:
        chance = self._chance
        at = f" {setting}" if setting else ""
        opener = chance.pick(OPENERS)
        if self._many and not subject.startswith("[a "):
            opener = {"this is ": "these are ", "here is ": "here are "}.get(opener, opener)
        opened = opener + subject
        if not details:  # drawn too small for any
            return f"{opened}, {doing}{at}."
        things = listed(details)
        having = f"each with {things}" if self._many else f"with {things}"
        it_has = f"each has {things}" if self._many else f"it has {things}"
        comma = "," if self._many else ""
        forms = [
            f"{opened}, {doing}{at}, {having}.",
            f"{opened}{comma} {having}, {doing}{at}.",
            f"{opened}, {doing}{at}. {capitalised(it_has)}.",
            f"{opened}{at}, {having}, {doing}.",
            f"{opened}, {doing}{at}; {it_has}.",
        ]
        if setting:
            forms.append(f"{setting}, {subject}, {doing}; {it_has}.")
        if not self._many and not OWN.search(things):
            one = len(details) == 1 and things.startswith(("a ", "an ", "no "))
            forms.append(f"{things} {'marks' if one else 'mark'} {subject}, {doing}{at}.")
        return chance.pick(forms)

    def _subject(self, colour: str | None) -> str:
        """The noun phrase, with the category's name in it."""
        chance, name, kind = self._chance, self._name, self._kind
        coloured = f"{colour} " if colour else ""
        if self._many:
            number = f"[{chance.pick(NUMBERS[self._sighting.count])}|count]"
            forms = (
                f"{number} {coloured}{name}s",
                f"{number} {coloured}{kind.plural} of the kind {name}",
                f"{number} {coloured}{kind.plural}, the {name}",
            )
        else:
            described = article(f"{coloured}{kind.name}")
            forms = (
                article(f"{coloured}{name}"),
                f"{described} called {name}",
                f"{article(name)}, {described}",
            )
        return chance.pick(forms)

    def _visible(self, *levels: Level) -> list[Trait]:
        """The traits of these levels that have words and can be seen at this size."""
        values = self._sighting.values
        return [
            trait
            for trait in self._kind.at(*levels)
            if trait.legible <= self._pixels
            and not (trait.unless and values[trait.unless[0]] in trait.unless[1])
            and trait.words_of(values[trait.name])
        ]

    def _say(self, trait: Trait) -> str:
        words = self._chance.pick(trait.words_of(self._sighting.values[trait.name]))
        return typed(words, trait.type)

    def _doings(self) -> list[str]:
        """What the subject does and how it is seen: pose, viewpoint, size in the frame."""
        found = [self._say(trait) for trait in self._visible("image")]
        if self._many:
            return [f"each {doing}" if OWN.search(doing) else doing for doing in found]
        if self._sighting.share >= NEAR:
            found.append(self._chance.pick(("[close up|size]", "[filling the frame|size]")))
        elif self._sighting.share <= FAR:
            found.append(self._chance.pick(("[small in the frame|size]", "[seen from afar|size]")))
        return found

    def _setting(self, what: str) -> str:
        words: Sequence[str] = ()
        if what == "place":
            words = PLACE_WORDS[self._sighting.place]
        elif what == "light":
            words = LIGHT_WORDS.get(self._sighting.light, ())
        return typed(self._chance.pick(words), what) if words else ""
