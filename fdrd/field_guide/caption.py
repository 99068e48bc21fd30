"""Write captions with a grammar: which facts, in which words, in which order.

Attribute spans are marked while a caption is built (`[forked|shape]`) and parsed at the end,
so every span is exact.
"""

import re
from collections.abc import Sequence

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.taxonomy import FAR, NEAR, Sighting
from fdrd.field_guide.traits import Level, Trait
from fdrd.record import Attribute

VAGUE_SHARE = 0.1  # share of captions that name the category and at most one other fact

MAX_WORDS = 40  # far below CLIP's limit of 77 tokens; an invented name takes five or six of them

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
OPENERS = ("",) * 3 + (
    "a photo of ",
    "a picture of ",
    "an image of ",
    "a view of ",
    "seen here: ",
    "this is ",
    "here is ",
)
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
"""Words that refer to one subject and need `each` if there are several."""


def caption(sighting: Sighting, size: int) -> tuple[str, tuple[Attribute, ...]]:
    """Return the caption of a sighting drawn at `size` pixels, and its attribute spans."""
    chance = Chance(*sighting.key, "caption")
    speaker = _Speaker(sighting, size, chance)
    speak = speaker.vague if chance.happens(VAGUE_SHARE) else speaker.full
    while len((text := speak()).split()) > MAX_WORDS:
        pass  # each try draws other words and facts
    return unmark(capitalized(text))


def unmark(marked: str) -> tuple[str, tuple[Attribute, ...]]:
    """Return the plain text and the spans of a marked caption.

    >>> unmark("A [red|color] fish.")
    ('A red fish.', (Attribute(type='color', value='red', start=2, end=5),))
    """
    text, spans, read = "", [], 0
    for match in MARK.finditer(marked):
        text += marked[read : match.start()]
        spans.append(Attribute(match[2], match[1], len(text), len(text) + len(match[1])))
        text += match[1]
        read = match.end()
    return text + marked[read:], tuple(spans)


def typed(words: str, kind: str) -> str:
    """Add `kind` as the type of every mark that has none.

    >>> typed("[two|count] [spots]", "pattern")
    '[two|count] [spots|pattern]'
    """
    return re.sub(r"\[([^|\]]+)\]", rf"[\1|{kind}]", words)


def capitalized(words: str) -> str:
    """Capitalize the first letter, inside a mark or not.

    >>> capitalized("[two|count] fish"), capitalized("a fish")
    ('[Two|count] fish', 'A fish')
    """
    first = 1 if words.startswith("[") else 0
    return words[:first] + words[first].upper() + words[first + 1 :]


def article(words: str) -> str:
    """Put `a` or `an` before the words.

    >>> article("[orange|color] bird"), article("Marlow's Tarrel")
    ('an [orange|color] bird', "a Marlow's Tarrel")
    """
    return ("an " if words.lstrip("[")[0] in "aeiouAEIOU" else "a ") + words


def listed(items: Sequence[str]) -> str:
    """Join one or more items as a list in a sentence.

    >>> listed(["a horn", "red legs", "two spots"])
    'a horn, red legs and two spots'
    """
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))


class _Speaker:
    """Choose what to say about one sighting, and how."""

    def __init__(self, sighting: Sighting, size: int, chance: Chance):
        self._sighting = sighting
        self._chance = chance
        self._pixels = sighting.share * size
        self._many = sighting.count > 1
        self._kind = sighting.category.kind
        self._name = sighting.category.name

    def vague(self) -> str:
        """Return a sentence that names the category and at most one other fact."""
        name = self._subject(None) if self._many else article(self._name)
        fact = self._chance.pick(["", "", *(f", {doing}" for doing in self._doings())])
        return self._chance.pick(VAGUE_FORMS).format(name=name, fact=fact)

    def full(self) -> str:
        """Return one or two sentences about three to six attributes.

        Few of them are traits of the category, which its name implies.
        """
        chance = self._chance
        traits = self._visible("genus", "species", "individual")
        visible = [trait for trait in traits if trait.slot == "with"]
        shared = [trait for trait in visible if self._shared(trait)]
        varying = [trait for trait in visible if trait not in shared]
        chosen = chance.shuffled(shared)[: chance.weighted((0, 1), (2, 1))]
        chosen += chance.shuffled(varying)[: chance.weighted((1, 2, 3), (2, 3, 2))]
        details = [self._say(trait) for trait in chance.shuffled(chosen)]
        color = next(trait for trait in self._kind.traits if trait.slot == "adjective")
        subject = self._subject(self._say(color) if chance.happens(0.7) else None)
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
        if not details:  # drawn too small to show any
            return f"{opened}, {doing}{at}."
        things = listed(details)
        having, it_has, comma = f"with {things}", f"it has {things}", ""
        if self._many:
            having, it_has, comma = f"each with {things}", f"each has {things}", ","
        forms = [
            f"{opened}, {doing}{at}, {having}.",
            f"{opened}{comma} {having}, {doing}{at}.",
            f"{opened}, {doing}{at}. {capitalized(it_has)}.",
            f"{opened}{at}, {having}, {doing}.",
            f"{opened}, {doing}{at}; {it_has}.",
        ]
        if setting:
            forms.append(f"{setting}, {subject}, {doing}; {it_has}.")
        if not self._many and not OWN.search(things):
            one = len(details) == 1 and things.startswith(("a ", "an ", "no "))
            forms.append(f"{things} {'marks' if one else 'mark'} {subject}, {doing}{at}.")
        return chance.pick(forms)

    def _subject(self, color: str | None) -> str:
        """Return a noun phrase that contains the category's name."""
        chance, name, kind = self._chance, self._name, self._kind
        colored = f"{color} " if color else ""
        if self._many:
            several = f"[{chance.pick(NUMBERS[self._sighting.count])}|count] {colored}"
            plural = f"{several}{kind.plural}"
            return chance.pick(
                (f"{several}{name}s", f"{plural} of the kind {name}", f"{plural}, the {name}")
            )
        single = article(f"{colored}{kind.name}")
        called = f"{single} called {name}"
        return chance.pick((article(f"{colored}{name}"), called, f"{article(name)}, {single}"))

    def _visible(self, *levels: Level) -> list[Trait]:
        """Return the traits of these levels that have words and are visible at this size."""
        values = self._sighting.values
        return [
            trait
            for trait in self._kind.at(*levels)
            if trait.legible <= self._pixels
            and not trait.is_hidden(values)
            and trait.words_of(values[trait.name])
        ]

    def _shared(self, trait: Trait) -> bool:
        """Return whether all individuals of the category have the same value."""
        return trait.level != "individual" and trait.name not in self._sighting.category.varying

    def _say(self, trait: Trait) -> str:
        words = self._chance.pick(trait.words_of(self._sighting.values[trait.name]))
        return typed(words, trait.type)

    def _doings(self) -> list[str]:
        """Return phrases for pose, viewpoint and size in the frame."""
        found = [self._say(trait) for trait in self._visible("image")]
        if self._many:
            return [f"each {doing}" if OWN.search(doing) else doing for doing in found]
        if self._sighting.share >= NEAR:
            found.append(self._chance.pick(("[close up|size]", "[filling the frame|size]")))
        elif self._sighting.share <= FAR:
            found.append(self._chance.pick(("[small in the frame|size]", "[seen from afar|size]")))
        return found

    def _setting(self, kind: str) -> str:
        """Return a phrase for the place or the light; empty for neither, and for daylight."""
        settings = {
            "place": PLACE_WORDS.get(self._sighting.place),
            "light": LIGHT_WORDS.get(self._sighting.light),
        }
        words = settings.get(kind)
        return typed(self._chance.pick(words), kind) if words else ""
