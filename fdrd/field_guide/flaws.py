"""Plant flaws in the training images of a category, so that a demo shows what a build finds.

A planted pair has the name of its flaw in the column `planted` of `metadata.jsonl`, and in the name of a file
that was added. Test images stay as they are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from fdrd.errors import FdrdError


@dataclass(frozen=True, slots=True)
class Pair:
    """One image file and the line of `metadata.jsonl` that describes it.

    Attributes:
        line: fields of the line; empty if no line describes the image.
        name: name of the file, relative to the source.
        image: bytes of the file; empty if there is no such file.
        raw: text of a line that is no valid JSON, in place of `line`.
    """

    line: dict[str, Any]
    name: str
    image: bytes
    raw: str = ""

    def text(self) -> str:
        """Return the line of `metadata.jsonl`, or nothing."""
        return self.raw or (json.dumps(self.line, ensure_ascii=False) + "\n" if self.line else "")


@dataclass(frozen=True, slots=True)
class Victims:
    """What a flaw is made of: a training pair, a test pair of its category, and the name of another category."""

    train: Pair
    test: Pair
    other: str


Flaw = Callable[[Victims], Sequence[Pair]]
"""Returns the pairs that take the place of the training pair."""


def planted(pairs: Sequence[Pair], position: int, categories: Sequence[str]) -> Iterator[Pair]:
    """Yield the pairs of a category with its share of the flaws.

    Args:
        pairs: pairs of the category, drawn.
        position: position of the category among all.
        categories: names of all categories.

    Raises:
        FdrdError: the category has fewer training images than flaws.
    """
    flaws = FLAWS[position :: len(categories)]
    tests = [pair for pair in pairs if pair.line["split"] == "test"]
    train = [pair for pair in pairs if pair.line["split"] == "train"]
    if len(train) < len(flaws):
        raise FdrdError(
            f"{len(FLAWS)} flaws need more images than {len(pairs)} of each of {len(categories)} categories"
        )
    other = categories[(position + 1) % len(categories)]
    # Every second one, so that no two flaws meet in one individual while there are enough.
    victims = [*train[::2], *train[1::2]]
    flaw_of = dict(zip((pair.name for pair in victims), enumerate(flaws), strict=False))
    for pair in pairs:
        if pair.name not in flaw_of:
            yield pair
            continue
        number, (name, flaw) = flaw_of[pair.name]
        for made in flaw(Victims(pair, tests[number % len(tests)], other)):
            line = made.line | {"planted": name} if made.line and made is not pair else made.line
            yield replace(made, line=line)


def _line(pair: Pair, **changes: Any) -> Pair:
    """Change fields of the line. Attribute spans of another caption are dropped."""
    line = pair.line | changes
    if "caption" in changes:
        line.pop("attributes")
    return replace(pair, line=line)


def _picture(alter: Callable[[Image.Image], Image.Image], quality: int = 90) -> Flaw:
    """Return a flaw that replaces the image by an altered one."""
    return lambda found: [replace(found.train, image=_altered(found.train.image, alter, quality))]


def _altered(image: bytes, alter: Callable[[Image.Image], Image.Image], quality: int) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(image)) as opened:
        alter(opened).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _caption(rewrite: Callable[[Victims], str]) -> Flaw:
    """Return a flaw that replaces the caption."""
    return lambda found: [_line(found.train, caption=rewrite(found))]


def _added(
    source: Callable[[Victims], Pair], change: Callable[[Pair], Pair] = lambda pair: pair
) -> Flaw:
    """Return a flaw that adds a changed copy of a pair to the training split."""

    def flaw(found: Victims) -> Sequence[Pair]:
        copied = source(found)
        name = found.train.name.replace(".jpg", "-planted.jpg")
        # Without a group, which would tell a copy before the image does.
        line = copied.line | {"file_name": name, "split": "train", "group": ""}
        return [found.train, change(replace(copied, line=line, name=name))]

    return flaw


def _recompressed(pair: Pair) -> Pair:
    brighter = _altered(
        pair.image, lambda image: image.point([min(v + 6, 255) for v in range(256)] * 3), 60
    )
    return replace(pair, image=brighter)


def _mirrored(pair: Pair) -> Pair:
    return replace(pair, image=_altered(pair.image, ImageOps.mirror, 90))


def _renamed(found: Victims) -> str:
    line = found.train.line
    return str(line["caption"]).replace(line["category"], found.other)


def _train(found: Victims) -> Pair:
    return found.train


def _test(found: Victims) -> Pair:
    return found.test


_LONG = " It stands there, and nothing else can be seen, neither left nor right of it."

FLAWS: tuple[tuple[str, Flaw], ...] = (
    ("truncated file", lambda f: [replace(f.train, image=f.train.image[: len(f.train.image) // 2])]),
    ("truncated file", lambda f: [replace(f.train, image=f.train.image[:400])]),
    ("error page", lambda f: [replace(f.train, image=b"<!DOCTYPE html><title>404 Not Found</title>")]),
    ("file missing", lambda f: [replace(f.train, image=b"")]),
    ("file outside", lambda f: [_line(replace(f.train, image=b""), file_name="../photo.jpg")]),
    ("caption missing", lambda f: [replace(f.train, line={})]),
    ("caption missing", lambda f: [replace(f.train, line={})]),
    ("caption missing", lambda f: [replace(f.train, line={})]),
    ("line cut off", lambda f: [replace(f.train, image=b"", raw=f.train.text()[:60] + "\n")]),
    ("thumbnail", _picture(lambda image: image.resize((6, 6), Image.Resampling.NEAREST))),
    ("strip", _picture(lambda image: image.resize((256, 8), Image.Resampling.NEAREST))),
    ("caption without end", _caption(lambda f: f.train.line["caption"] + _LONG * 80)),
    ("same pair twice", _added(_train)),
    ("same pair twice", _added(_train)),
    ("test image", _added(_test)),
    ("test image", _added(_test)),
    ("test image, recompressed", _added(_test, _recompressed)),
    ("test image, recompressed", _added(_test, _recompressed)),
    ("test image, mirrored", _added(_test, _mirrored)),
    ("group of a test image", lambda f: [_line(f.train, group=f.test.line["group"])]),
    ("recompressed copy", _added(_train, _recompressed)),
    ("recompressed copy", _added(_train, _recompressed)),
    ("mirrored copy", _added(_train, _mirrored)),
    ("blank image", _picture(lambda image: Image.new("RGB", image.size, (128, 128, 128)))),
    ("faint image", _picture(lambda image: image.point([100 + v // 4 for v in range(256)] * 3))),
    ("blurred image", _picture(lambda image: image.filter(ImageFilter.BoxBlur(image.width // 12)))),
    ("caption over 77 tokens", _caption(lambda f: f.train.line["caption"] + _LONG * 5)),
    ("caption of a test image", _caption(lambda f: f.test.line["caption"])),
    ("wrong category", lambda f: [_line(f.train, category=f.other)]),
    ("wrong category", lambda f: [_line(f.train, category=f.other)]),
    ("caption names another category", _caption(_renamed)),
    ("caption names another category", _caption(_renamed)),
    ("wrong category and caption", lambda f: [_line(f.train, category=f.other, caption=_renamed(f))]),
    ("refusal as caption", _caption(lambda f: "I'm sorry, I cannot see the image.")),
    ("doubled word", _caption(lambda f: "The the " + f.train.line["caption"])),
    ("no full stop", _caption(lambda f: f.train.line["caption"].rstrip("."))),
)  # fmt: skip
"""Name and change of each planted flaw. They are dealt to the categories in turn."""
