"""Plant flaws in the training images of a category, so that a demo shows what a build finds.

A planted pair has the name of its flaw in the column `planted` of `metadata.jsonl`, and in the name of a file
that was added. Test images stay as they are.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from operator import attrgetter
from typing import Any

from PIL import Image, ImageFilter, ImageOps

from fdrd.errors import FdrdError


@dataclass(frozen=True, slots=True)
class Pair:
    """One image file and the line of `metadata.jsonl` that describes it."""

    line: dict[str, Any]  # fields of the line; empty if no line describes the image
    name: str  # name of the file, relative to the source
    image: bytes  # bytes of the file; empty if there is no such file
    raw: str = ""  # text of a line that is no valid JSON, in place of `line`

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
    """Yield the pairs of the category at a position among all `categories`, with its share of the flaws.

    Raise `FdrdError` if the category has fewer training images than flaws.
    """
    flaws = FLAWS[position :: len(categories)]
    tests = [pair for pair in pairs if pair.line["split"] == "test"]
    train = [pair for pair in pairs if pair.line["split"] == "train"]
    if len(train) < len(flaws):
        images = f"{len(pairs)} of each of {len(categories)} categories"
        raise FdrdError(f"{len(FLAWS)} flaws need more images than {images}")
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


def _file(change: Callable[[bytes], bytes]) -> Flaw:
    """Return a flaw that changes the bytes of the image; without any, there is no such file."""
    return lambda context: [replace(context.train, image=change(context.train.image))]


def _image(alter: Callable[[Image.Image], Image.Image]) -> Flaw:
    """Return a flaw that replaces the image by an altered one."""
    return _file(lambda image: _altered(image, alter))


def _altered(image: bytes, alter: Callable[[Image.Image], Image.Image], quality: int = 90) -> bytes:
    file = io.BytesIO()
    with Image.open(io.BytesIO(image)) as opened:
        alter(opened).save(file, "JPEG", quality=quality, subsampling=0)
    return file.getvalue()


def _caption(rewrite: Callable[[Context], str]) -> Flaw:
    """Return a flaw that replaces the caption."""
    return lambda context: [_line(context.train, caption=rewrite(context))]


def _wrong_category(context: Context) -> Sequence[Pair]:
    return [_line(context.train, category=context.other)]


def _added(
    source: Callable[[Context], Pair], change: Callable[[bytes], bytes] = lambda image: image
) -> Flaw:
    """Return a flaw that adds a copy of a pair, with a changed image, to the training split."""

    def flaw(context: Context) -> Sequence[Pair]:
        copied = source(context)
        name = context.train.name.replace(".jpg", "-planted.jpg")
        # Without a group, which would tell a copy before the image does.
        line = copied.line | {"file_name": name, "split": "train", "group": ""}
        return [context.train, Pair(line, name, change(copied.image))]

    return flaw


def _recompressed(image: bytes) -> bytes:
    brighter = [min(value + 6, 255) for value in range(256)] * 3
    return _altered(image, lambda image: image.point(brighter), 60)


def _mirrored(image: bytes) -> bytes:
    return _altered(image, ImageOps.mirror)


def _renamed(context: Context) -> str:
    line = context.train.line
    return str(line["caption"]).replace(line["category"], context.other)


_train, _test = attrgetter("train"), attrgetter("test")
_LONG = " It stands there, and nothing else can be seen, neither left nor right of it."
_FAINT = [100 + value // 4 for value in range(256)] * 3

_FLAWS: tuple[tuple[int, str, Flaw], ...] = (
    (1, "truncated file", _file(lambda image: image[: len(image) // 2])),
    (1, "truncated file", _file(lambda image: image[:400])),
    (1, "error page", _file(lambda image: b"<!DOCTYPE html><title>404 Not Found</title>")),
    (1, "file missing", _file(lambda image: b"")),
    (1, "file outside", lambda c: [_line(replace(c.train, image=b""), file_name="../photo.jpg")]),
    (3, "caption missing", lambda c: [replace(c.train, line={})]),
    (1, "line cut off", lambda c: [replace(c.train, image=b"", raw=c.train.text()[:60] + "\n")]),
    (1, "thumbnail", _image(lambda image: image.resize((6, 6), Image.Resampling.NEAREST))),
    (1, "strip", _image(lambda image: image.resize((256, 8), Image.Resampling.NEAREST))),
    (1, "caption without end", _caption(lambda c: c.train.line["caption"] + _LONG * 80)),
    (2, "same pair twice", _added(_train)),
    (2, "test image", _added(_test)),
    (2, "test image, recompressed", _added(_test, _recompressed)),
    (1, "test image, mirrored", _added(_test, _mirrored)),
    (1, "group of a test image", lambda c: [_line(c.train, group=c.test.line["group"])]),
    (2, "recompressed copy", _added(_train, _recompressed)),
    (1, "mirrored copy", _added(_train, _mirrored)),
    (1, "blank image", _image(lambda image: Image.new("RGB", image.size, (128, 128, 128)))),
    (1, "faint image", _image(lambda image: image.point(_FAINT))),
    (1, "blurred image", _image(lambda i: i.filter(ImageFilter.BoxBlur(i.width // 12)))),
    (1, "caption over 77 tokens", _caption(lambda c: c.train.line["caption"] + _LONG * 5)),
    (1, "caption of a test image", _caption(lambda c: c.test.line["caption"])),
    (2, "wrong category", _wrong_category),
    (2, "caption names another category", _caption(_renamed)),
    (1, "wrong category and caption", lambda c: [_line(*_wrong_category(c), caption=_renamed(c))]),
    (1, "refusal as caption", _caption(lambda c: "I'm sorry, I cannot see the image.")),
    (1, "doubled word", _caption(lambda c: "The the " + c.train.line["caption"])),
    (1, "no full stop", _caption(lambda c: c.train.line["caption"].rstrip("."))),
)
FLAWS = tuple((name, flaw) for count, name, flaw in _FLAWS for _ in range(count))
"""Name and change of each planted flaw. They are dealt to the categories in turn."""
