"""What a meta-category consists of: traits, their values, and the words that captions use for them.

Words are written once, with the attribute spans marked: in `"a [forked] tail"` the span is
`forked`, of the trait's own type; in `"[two|count] [white|colour] wing bars"` each span names its
type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.palette import COLOURS, jittered
from fdrd.field_guide.raster import Colour
from fdrd.field_guide.sketch import Sketch

AttributeType = Literal[
    "colour", "pattern", "material", "size", "shape", "count", "part", "pose", "place", "light",
    "viewpoint",
]  # fmt: skip

Level = Literal["genus", "species", "individual", "image"]
"""Who shares a value: all species of a genus, one species, one individual, or one image."""

Slot = Literal["adjective", "with", "doing"]
"""Where the words fit: `a ... bird`, `a bird with ...`, `a bird, ...`."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a trait. Without words it is drawn but never mentioned.

    `turn` and `mirror` are for viewpoints: how the whole subject is turned (steps of `TURN`) or
    flipped.
    """

    key: str
    words: tuple[str, ...] = ()
    turn: int = 0
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class Trait:
    """Something in which categories, individuals or images differ.

    `legible` is the size, in pixels of the subject's longer side, from which the value can be read
    off the picture; captions of smaller drawings do not mention it. `unless` names another trait
    and those of its values beside which this one does not show: a plain fish has no markings to
    have a colour.
    """

    name: str
    type: AttributeType
    level: Level
    values: tuple[Value, ...]
    slot: Slot = "with"
    legible: int = 40
    unless: tuple[str, tuple[str, ...]] | None = None

    def words_of(self, key: str) -> tuple[str, ...]:
        """The phrasings of a value."""
        return next(value.words for value in self.values if value.key == key)


Signature = Mapping[str, str]
"""Values by trait name: of the genus and species traits it is what a category *is*."""


class Look:
    """An individual as its painter sees it: values by trait name, and their colours."""

    def __init__(self, values: Signature, *individual: int | str):
        self._values = values
        self._individual = individual

    def __getitem__(self, trait: str) -> str:
        """The value of a trait."""
        return self._values[trait]

    def colour(self, trait: str) -> Colour:
        """The colour that the value of a trait names, as it is on this individual."""
        return jittered(COLOURS[self._values[trait]], Chance(*self._individual, trait))


@dataclass(frozen=True, slots=True)
class MetaCategory:
    """A kind of thing: everything that the generator needs to know about it.

    `draw` draws one individual around the origin, between -1 and 1 in x and y, looking right or up.
    `sensible` refuses signatures whose values could not be told apart in a picture.
    """

    name: str
    plural: str
    endings: tuple[str, ...]
    traits: tuple[Trait, ...]
    draw: Callable[[Sketch, Look], None]
    sensible: Callable[[Signature], bool] = lambda signature: True

    def at(self, *levels: Level) -> tuple[Trait, ...]:
        """The traits of these levels."""
        return tuple(trait for trait in self.traits if trait.level in levels)


def one_of(**values: str | tuple[str, ...]) -> tuple[Value, ...]:
    """Values from their keys and words.

    >>> [value.words for value in one_of(none=(), forked="a [forked] tail")]
    [(), ('a [forked] tail',)]
    """
    return tuple(
        Value(key, (words,) if isinstance(words, str) else words) for key, words in values.items()
    )


def colours(names: tuple[str, ...], *words: str) -> tuple[Value, ...]:
    """Values that are colours; `{}` in the words stands for the name.

    >>> [value.words for value in colours(("red", "black"), "a [{}] cap")]
    [('a [red] cap',), ('a [black] cap',)]
    """
    return tuple(Value(name, tuple(word.format(name) for word in words)) for name in names)


SIDEWAYS = Trait(
    "viewpoint", "viewpoint", "image",
    (
        Value("right", ("[facing right]", "[turned to the right]")),
        Value("left", ("[facing left]", "[turned to the left]"), mirror=True),
    ),
    slot="doing", legible=0,
)  # fmt: skip
"""Drawn from the side, looking right: the view may be mirrored."""


def pointing(what: str) -> Trait:
    """Drawn from above, its front up: the view may be turned. `what` points, e.g. `its head`."""
    what = f"with {what}"
    return Trait(
        "viewpoint", "viewpoint", "image",
        (
            Value("up", (f"{what} [pointing up]", f"{what} [towards the top]")),
            Value("right", (f"{what} [pointing right]", f"{what} [to the right]"), turn=256),
            Value("left", (f"{what} [pointing left]", f"{what} [to the left]"), turn=-256),
        ),
        slot="doing", legible=0,
    )  # fmt: skip
