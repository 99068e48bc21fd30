"""Parts of a meta-category: traits, their values, and the words that captions use for them.

Attribute spans are marked in the words. In `"a [forked] tail"` the span `forked` has the trait's
own type; in `"[two|count] [white|color] wing bars"` each span names its type.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from fdrd.field_guide.chance import Chance
from fdrd.field_guide.raster import Color
from fdrd.field_guide.sketch import COLORS, Sketch, jittered, stands_out

Level = Literal["genus", "species", "individual", "image"]
"""What shares a value: all species of a genus, one species, one individual, or one image."""

Slot = Literal["adjective", "with", "doing"]
"""Position of the words: `a ... bird`, `a bird with ...`, `a bird, ...`."""


Signature = Mapping[str, str]
"""Values by trait name; those of genus and species traits define a category."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a trait. A value without words is drawn but never mentioned.

    `turn` (steps of `TURN`) and `mirror` move the whole subject, for viewpoints.
    """

    key: str
    words: tuple[str, ...] = ()
    turn: int = 0
    mirror: bool = False


@dataclass(frozen=True, slots=True)
class Trait:
    """A trait in which categories, individuals or images differ.

    `legible` is the minimum size of the subject's longer side, in pixels, at which captions mention
    the value. `unless` names another trait and the values that hide this one: a plain fish has no
    markings whose color could be named, so it always has the first color.
    """

    name: str
    type: str
    level: Level
    values: tuple[Value, ...]
    slot: Slot = "with"
    legible: int = 40
    unless: tuple[str, tuple[str, ...]] | None = None

    def words_of(self, key: str) -> tuple[str, ...]:
        """Return the phrasings of a value."""
        return next(value.words for value in self.values if value.key == key)

    def is_hidden(self, values: Signature) -> bool:
        """Return whether the value of another trait hides this one."""
        return self.unless is not None and values[self.unless[0]] in self.unless[1]


class Look:
    """The appearance of an individual: values by trait name, and their colors."""

    def __init__(self, values: Signature, *individual: int | str):
        self._values = values
        self._individual = individual

    def __getitem__(self, trait: str) -> str:
        """Return the value of a trait."""
        return self._values[trait]

    def color(self, trait: str) -> Color:
        """Return the color named by a trait's value, varied for this individual."""
        return jittered(COLORS[self._values[trait]], Chance(*self._individual, trait))


@dataclass(frozen=True, slots=True)
class MetaCategory:
    """Everything that the generator needs to know about one kind of subject.

    `draw` draws one individual around the origin, between -1 and 1 in x and y, facing right or up.
    `marks` are the traits whose colors must stand out from the main color. `fits` refuses other
    signatures whose values could not be distinguished in an image.
    """

    name: str
    plural: str
    endings: tuple[str, ...]
    traits: tuple[Trait, ...]
    draw: Callable[[Sketch, Look], None]
    marks: tuple[str, ...]
    fits: Callable[[Signature], bool] = lambda signature: True

    def at(self, *levels: Level) -> tuple[Trait, ...]:
        """Return the traits of these levels."""
        return tuple(trait for trait in self.traits if trait.level in levels)

    def sensible(self, signature: Signature) -> bool:
        """Return whether an image shows all values; a hidden trait has its first value."""
        hidden = (trait for trait in self.traits if trait.is_hidden(signature))
        return (
            all(stands_out(signature[mark], signature["color"]) for mark in self.marks)
            and all(signature[trait.name] == trait.values[0].key for trait in hidden)
            and self.fits(signature)
        )


def one_of(**values: str) -> tuple[Value, ...]:
    """Return values from their keys and their words, which have " / " between them.

    >>> [value.words for value in one_of(none="", forked="a [forked] tail / a [split] tail")]
    [(), ('a [forked] tail', 'a [split] tail')]
    """
    return tuple(Value(key, tuple(filter(None, text.split(" / ")))) for key, text in values.items())


def colors(names: str, *words: str) -> tuple[Value, ...]:
    """Return color values; `{}` in the words stands for the name, and `none` and `same` have no words.

    >>> [value.words for value in colors("none red black", "a [{}] cap")]
    [(), ('a [red] cap',), ('a [black] cap',)]
    """
    return tuple(
        Value(name, () if name in ("none", "same") else tuple(word.format(name) for word in words))
        for name in names.split()
    )


def _viewpoint(*values: Value) -> Trait:
    return Trait("viewpoint", "viewpoint", "image", values, slot="doing", legible=0)


SIDEWAYS = _viewpoint(
    Value("right", ("[facing right]", "[turned to the right]")),
    Value("left", ("[facing left]", "[turned to the left]"), mirror=True),
)
"""For subjects drawn from the side, facing right; the view may be mirrored."""


def pointing(part: str) -> Trait:
    """Return the viewpoint of a subject drawn from above, front up. A part points, e.g., `its head`."""
    return _viewpoint(
        Value("up", (f"with {part} [pointing up]", f"with {part} [towards the top]")),
        Value("right", (f"with {part} [pointing right]", f"with {part} [to the right]"), turn=256),
        Value("left", (f"with {part} [pointing left]", f"with {part} [to the left]"), turn=-256),
    )


def leaning(turn: int) -> Trait:
    """Return the viewpoint of a plant that grows upward or leans by `turn` steps of `TURN`."""
    return _viewpoint(
        Value("up", ("[standing straight]", "[growing upright]")),
        Value("right", ("[leaning to the right]", "[tilted right]"), turn=turn),
        Value("left", ("[leaning to the left]", "[tilted left]"), turn=-turn),
    )
