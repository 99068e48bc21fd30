"""Charts of the card as PNG, drawn with Pillow: the same counts give the same bytes, and nothing more is installed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fdrd.card.summary import Summary, quantile

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH = 960
INK, FAINT, PAPER = (40, 44, 52), (150, 156, 168), (255, 255, 255)
COLOUR, MARKED = (74, 112, 168), (196, 96, 64)
_MARGIN, _LABEL, _LINE = 24, 190, 26
_BARS = 24  # rows of a bar chart; what is beyond is summed up in one more
_COLUMNS = 60


@dataclass(frozen=True, slots=True)
class Plot:
    """A chart: the file of the repository that holds it, what it shows in words, and its bytes."""

    path: str
    text: str
    png: bytes


def plots(summaries: Sequence[Summary]) -> list[Plot]:
    """The charts of a dataset; one that would be empty is left out."""
    words: Counter[int] = sum((each.words for each in summaries), Counter())
    attributes: Counter[str] = sum((each.attributes for each in summaries), Counter())
    negatives: Counter[str] = sum((each.negatives for each in summaries), Counter())
    sizes = [rows for each in summaries for rows in each.categories.values()]
    low, middle, high = (quantile(words, share) for share in (0.05, 0.5, 0.95))
    found = [
        Plot(
            "plots/caption_words.png",
            f"words of a caption: median {middle}, nine of ten between {low} and {high}",
            _columns("Words of a caption", words, middle),
        ),
        Plot(
            "plots/category_pairs.png",
            f"pairs of a category: {min(sizes):,} to {max(sizes):,}, {len(sizes):,} categories",
            _bars("Categories by number of pairs", _size_classes(sizes)),
        ),
    ]
    if attributes:
        text = f"attribute spans by type, {attributes.total():,} in all"
        png = _bars("Attribute spans by type", dict(attributes.most_common()))
        found.append(Plot("plots/attributes.png", text, png))
    if negatives:
        text = f"hard negatives by what they swap, {negatives.total():,} in all"
        png = _bars("Hard negatives by what they swap", dict(negatives.most_common()))
        found.append(Plot("plots/negatives.png", text, png))
    return found


def _size_classes(sizes: Sequence[int]) -> dict[str, int]:
    """How many categories have 1, 2 to 3, 4 to 7, ... pairs."""
    classes = Counter(size.bit_length() for size in sizes)
    names = {bits: (2 ** (bits - 1), 2**bits - 1) for bits in range(min(classes), max(classes) + 1)}
    return {
        f"{first:,} to {last:,}" if last > first else f"{first:,}": classes[bits]
        for bits, (first, last) in names.items()
    }


def _bars(title: str, values: Mapping[str, int]) -> bytes:
    """Horizontal bars with their numbers, in the order that is given."""
    rows = list(values.items())
    if len(rows) > _BARS:
        rest = rows[_BARS:]
        rows = [*rows[:_BARS], (f"{len(rest)} others", sum(value for _, value in rest))]
    top = _MARGIN + 40
    largest = max(value for _, value in rows)
    canvas, pen = _paper(title, top + _LINE * len(rows) + _MARGIN)
    room = WIDTH - 2 * _MARGIN - _LABEL - 90
    for number, (label, value) in enumerate(rows):
        y = top + _LINE * number
        left = _MARGIN + _LABEL
        _write(pen, (left - 10, y + 10), _short(label), anchor="rm")
        end = left + max(1, value * room // largest)
        pen.rectangle((left, y + 1, end, y + 19), fill=COLOUR)
        _write(pen, (end + 8, y + 10), f"{value:,}", anchor="lm")
    return _png(canvas)


def _columns(title: str, counts: Counter[int], marked: int) -> bytes:
    """Columns over a number line, with the column that holds `marked` in another colour."""
    step = max(1, -(-(max(counts) - min(counts) + 1) // _COLUMNS))
    first = min(counts) // step * step
    classes: Counter[int] = Counter()
    for value, times in counts.items():
        classes[(value - first) // step] += times
    top, height = _MARGIN + 40, 220
    canvas, pen = _paper(title, top + height + 50)
    number = max(classes) + 1
    width = (WIDTH - 2 * _MARGIN) // max(number, 12)
    largest = max(classes.values())
    every = max(1, -(-44 // width))
    for place in range(number):
        left = _MARGIN + place * width
        tall = -(-classes[place] * height // largest)
        fill = MARKED if place == (marked - first) // step else COLOUR
        if tall:
            box = (left + 1, top + height - tall, left + width - 2, top + height)
            pen.rectangle(box, fill=fill)
        if place % every == 0:
            middle = left + width // 2
            _write(pen, (middle, top + height + 16), f"{first + place * step}", anchor="mm")
    pen.line((_MARGIN, top + height + 1, WIDTH - _MARGIN, top + height + 1), fill=FAINT)
    corner = (WIDTH - _MARGIN, _MARGIN + 10)
    _write(pen, corner, f"highest column: {largest:,} pairs; median in red", anchor="rm", ink=FAINT)
    return _png(canvas)


def _paper(title: str, height: int) -> tuple[object, ImageDraw.ImageDraw]:
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (WIDTH, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    _write(pen, (_MARGIN, _MARGIN + 10), title, anchor="lm", size=20)
    return canvas, pen


def _write(
    pen: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    anchor: str,
    size: int = 14,
    ink: tuple[int, int, int] = INK,
) -> None:
    from PIL import ImageFont

    pen.text(place, text, fill=ink, font=ImageFont.load_default(size), anchor=anchor)


def _short(label: str) -> str:
    plain = " ".join(label.split())
    return plain if len(plain) <= 24 else f"{plain[:23]}…"


def _png(canvas: object) -> bytes:
    file = io.BytesIO()
    canvas.save(file, "PNG", optimize=True)  # type: ignore[attr-defined]
    return file.getvalue()
