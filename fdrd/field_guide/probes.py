"""What a model could score on a field guide without looking at the subject: reckoned exactly.

    python -m fdrd.field_guide.probes --categories 36 --pairs 7200

A probe knows one thing of every image perfectly and nothing else. Its equals count against it, as in
the benchmark, or are broken by lot. Galleries of 400 are cut from the test split, as
`fdrd bench --gallery 400` cuts one.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Literal

from fdrd.errors import FdrdError
from fdrd.field_guide.caption import LIGHT_WORDS, PLACE_WORDS, caption
from fdrd.field_guide.sighting import Sighting, sight
from fdrd.field_guide.taxonomy import categories
from fdrd.field_guide.writer import splits

GALLERY, GALLERIES = 400, 6

Ties = Literal["against", "by lot"]
Direction = Literal["image_to_text", "text_to_image"]
Told = tuple[str | None, str | None]
"""What a caption tells of the background: place, light."""

_MEANT = {
    (kind, marked): key
    for kind, table in (("place", PLACE_WORDS), ("light", LIGHT_WORDS))
    for key, phrases in table.items()
    for phrase in phrases
    for marked in re.findall(r"\[(.+?)\]", phrase)
}


@dataclass(frozen=True, slots=True)
class Pair:
    """An image by what it shows, and what its caption tells of the background."""

    sighting: Sighting
    told: Told


def galleries(count: int, pairs: int, seed: int = 0, size: int = 128) -> list[list[Pair]]:
    """Galleries of the test split that `sample` would draw.

    Raises:
        FdrdError: the split holds fewer images than a gallery.
    """
    test = []
    for position, category in enumerate(categories(count)):
        images = pairs // count + (position < pairs % count)
        for image, split in enumerate(splits(images)):
            if split == "test":
                sighting = sight(category, image, seed)
                test.append(Pair(sighting, _told(sighting, size)))
    if len(test) < GALLERY:
        raise FdrdError(f"{len(test)} test images; ask for more pairs, galleries hold {GALLERY}")
    return [Random(number).sample(test, GALLERY) for number in range(GALLERIES)]


def name_only(gallery: Sequence[Pair], ties: Ties) -> float:
    """R@1 of a model that tells categories apart perfectly: all images of the right one are equal."""
    counts = Counter(pair.sighting.category.name for pair in gallery)
    tied = [counts[pair.sighting.category.name] for pair in gallery]
    return fmean(1 / n if ties == "by lot" else n == 1 for n in tied)


def background_only(gallery: Sequence[Pair], direction: Direction) -> float:
    """R@1 of a model that sees place and light of every image, its equals broken by lot."""
    seen = [(pair.sighting.place, pair.sighting.light) for pair in gallery]
    backgrounds, captions = Counter(seen), Counter(pair.told for pair in gallery)
    fitting = {
        words: sum(n for background, n in backgrounds.items() if _fits(words, background))
        for words in captions
    }
    if direction == "text_to_image":
        return fmean(1 / fitting[pair.told] for pair in gallery)
    # The best guess for an image is a caption that fits it and fewest others.
    hits = []
    for pair, background in zip(gallery, seen, strict=True):
        fewest = min(n for words, n in fitting.items() if _fits(words, background))
        tied = sum(
            captions[words]
            for words, n in fitting.items()
            if n == fewest and _fits(words, background)
        )
        hits.append(1 / tied if fitting[pair.told] == fewest else 0)
    return fmean(hits)


def _told(sighting: Sighting, size: int) -> Told:
    found = {
        span.type: _MEANT[span.type, span.value.lower()]
        for span in caption(sighting, size)[1]
        if span.type in ("place", "light")
    }
    return found.get("place"), found.get("light")


def _fits(told: Told, background: tuple[str, str]) -> bool:
    return all(word in (None, truth) for word, truth in zip(told, background, strict=True))


def main() -> None:
    """Print R@1 of each probe in percent."""
    parser = argparse.ArgumentParser(description="What a field guide gives away.")
    parser.add_argument("--categories", type=int, default=120)
    parser.add_argument("--pairs", type=int, default=2400)
    given = parser.parse_args()
    found = galleries(given.categories, given.pairs)
    rows = [
        ("category name only, equals count against it", [name_only(g, "against") for g in found]),
        ("category name only, equals by lot", [name_only(g, "by lot") for g in found]),
        (
            "background only, image-to-text",
            [background_only(gallery, "image_to_text") for gallery in found],
        ),
        (
            "background only, text-to-image",
            [background_only(gallery, "text_to_image") for gallery in found],
        ),
    ]
    for name, values in rows:
        print(f"{name:45s} {100 * fmean(values):6.2f} %")  # noqa: T201 - a command's result


if __name__ == "__main__":
    main()
