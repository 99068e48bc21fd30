"""Plant flaws in the training images of a category, so that a demo shows what a build finds.

A planted pair has the name of its flaw in the column `planted` of `metadata.jsonl`, and in the name of a file
that was added. Test images stay as they are.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
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
class Context:
    """A training pair, a test pair of its category, and the name of another category."""

    train: Pair
    test: Pair
    other: str


Flaw = Callable[[Context], Sequence[Pair]]
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
    chosen = [pair.name for pair in (*train[::2], *train[1::2])]
    flaw_of = dict(zip(chosen, zip(flaws, cycle(tests), strict=False), strict=False))
    for pair in pairs:
        if pair.name not in flaw_of:
            yield pair
            continue
        (name, flaw), test = flaw_of[pair.name]
        for changed in flaw(Context(pair, test, other)):
            named = changed.line and changed is not pair
            yield replace(changed, line=changed.line | {"planted": name}) if named else changed


def _line(pair: Pair, **changes: Any) -> Pair:
    """Change fields of the line. Attribute spans of another caption are dropped."""
    line = pair.line | changes
    if "caption" in changes:
        line.pop("attributes")
    return replace(pair, line=line)


def _image(alter: Callable[[Image.Image], Image.Image], quality: int = 90) -> Flaw:
    """Return a flaw that replaces the image by an altered one."""
    return lambda context: [
        replace(context.train, image=_altered(context.train.image, alter, quality))
    ]


def _altered(image: bytes, alter: Callable[[Image.Image], Image.Image], quality: int) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(image)) as opened:
        alter(opened).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _caption(rewrite: Callable[[Context], str]) -> Flaw:
    """Return a flaw that replaces the caption."""
    return lambda context: [_line(context.train, caption=rewrite(context))]


def _added(
    source: Callable[[Context], Pair], change: Callable[[Pair], Pair] = lambda pair: pair
) -> Flaw:
    """Return a flaw that adds a changed copy of a pair to the training split."""

    def flaw(context: Context) -> Sequence[Pair]:
        copied = source(context)
        name = context.train.name.replace(".jpg", "-planted.jpg")
        # Without a group, which would tell a copy before the image does.
        line = copied.line | {"file_name": name, "split": "train", "group": ""}
        return [context.train, change(replace(copied, line=line, name=name))]

    return flaw


def _recompressed(pair: Pair) -> Pair:
    brighter = _altered(
        pair.image, lambda image: image.point([min(v + 6, 255) for v in range(256)] * 3), 60
    )
    return replace(pair, image=brighter)


def _mirrored(pair: Pair) -> Pair:
    return replace(pair, image=_altered(pair.image, ImageOps.mirror, 90))


def _renamed(context: Context) -> str:
    line = context.train.line
    return str(line["caption"]).replace(line["category"], context.other)


def _train(context: Context) -> Pair:
    return context.train


def _test(context: Context) -> Pair:
    return context.test


_LONG = " It stands there, and nothing else can be seen, neither left nor right of it."

FLAWS: tuple[tuple[str, Flaw], ...] = (
    ("truncated file", lambda c: [replace(c.train, image=c.train.image[: len(c.train.image) // 2])]),
    ("truncated file", lambda c: [replace(c.train, image=c.train.image[:400])]),
    ("error page", lambda c: [replace(c.train, image=b"<!DOCTYPE html><title>404 Not Found</title>")]),
    ("file missing", lambda c: [replace(c.train, image=b"")]),
    ("file outside", lambda c: [_line(replace(c.train, image=b""), file_name="../photo.jpg")]),
    ("caption missing", lambda c: [replace(c.train, line={})]),
    ("caption missing", lambda c: [replace(c.train, line={})]),
    ("caption missing", lambda c: [replace(c.train, line={})]),
    ("line cut off", lambda c: [replace(c.train, image=b"", raw=c.train.text()[:60] + "\n")]),
    ("thumbnail", _image(lambda image: image.resize((6, 6), Image.Resampling.NEAREST))),
    ("strip", _image(lambda image: image.resize((256, 8), Image.Resampling.NEAREST))),
    ("caption without end", _caption(lambda c: c.train.line["caption"] + _LONG * 80)),
    ("same pair twice", _added(_train)),
    ("same pair twice", _added(_train)),
    ("test image", _added(_test)),
    ("test image", _added(_test)),
    ("test image, recompressed", _added(_test, _recompressed)),
    ("test image, recompressed", _added(_test, _recompressed)),
    ("test image, mirrored", _added(_test, _mirrored)),
    ("group of a test image", lambda c: [_line(c.train, group=c.test.line["group"])]),
    ("recompressed copy", _added(_train, _recompressed)),
    ("recompressed copy", _added(_train, _recompressed)),
    ("mirrored copy", _added(_train, _mirrored)),
    ("blank image", _image(lambda image: Image.new("RGB", image.size, (128, 128, 128)))),
    ("faint image", _image(lambda image: image.point([100 + v // 4 for v in range(256)] * 3))),
    ("blurred image", _image(lambda image: image.filter(ImageFilter.BoxBlur(image.width // 12)))),
    ("caption over 77 tokens", _caption(lambda c: c.train.line["caption"] + _LONG * 5)),
    ("caption of a test image", _caption(lambda c: c.test.line["caption"])),
    ("wrong category", lambda c: [_line(c.train, category=c.other)]),
    ("wrong category", lambda c: [_line(c.train, category=c.other)]),
    ("caption names another category", _caption(_renamed)),
    ("caption names another category", _caption(_renamed)),
    ("wrong category and caption", lambda c: [_line(c.train, category=c.other, caption=_renamed(c))]),
    ("refusal as caption", _caption(lambda c: "I'm sorry, I cannot see the image.")),
    ("doubled word", _caption(lambda c: "The the " + c.train.line["caption"])),
    ("no full stop", _caption(lambda c: c.train.line["caption"].rstrip("."))),
)  # fmt: skip
"""Name and change of each planted flaw. They are dealt to the categories in turn."""
