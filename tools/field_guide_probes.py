"""Compute what a model could score on a field guide without seeing the subject.

    python tools/field_guide_probes.py --categories 36 --pairs 7200

A probe knows one fact about every image perfectly and nothing else. Ties count against it, as in the
benchmark, or are broken at random. Galleries of 400 images are drawn from the test split, like those
of `fdrd bench --gallery 400`.
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

Ties = Literal["against", "random"]
Direction = Literal["image_to_text", "text_to_image"]
Background = tuple[str | None, str | None]
"""What a caption says about the background: place, light."""

_MEANT = {
    (kind, marked): key
    for kind, table in (("place", PLACE_WORDS), ("light", LIGHT_WORDS))
    for key, phrases in table.items()
    for phrase in phrases
    for marked in re.findall(r"\[(.+?)\]", phrase)
}


@dataclass(frozen=True, slots=True)
class Pair:
    """What an image shows, and what its caption says about the background."""

    sighting: Sighting
    background: Background


def galleries(count: int, pairs: int, seed: int = 0, size: int = 128) -> list[list[Pair]]:
    """Return galleries from the test split that `sample` would draw.

    Raises:
        FdrdError: the split has fewer images than a gallery.
    """
    test = []
    for position, category in enumerate(categories(count)):
        images = pairs // count + (position < pairs % count)
        for image, split in enumerate(splits(images)):
            if split == "test":
                sighting = sight(category, image, seed)
                test.append(Pair(sighting, _described(sighting, size)))
    if len(test) < GALLERY:
        raise FdrdError(
            f"a gallery needs {GALLERY} test images, got {len(test)}; ask for more pairs"
        )
    return [Random(number).sample(test, GALLERY) for number in range(GALLERIES)]


def name_only(gallery: Sequence[Pair], ties: Ties) -> float:
    """Return R@1 of a model that recognizes categories perfectly and nothing else."""
    counts = Counter(pair.sighting.category.name for pair in gallery)
    tied = [counts[pair.sighting.category.name] for pair in gallery]
    return fmean(1 / n if ties == "random" else n == 1 for n in tied)


def background_only(gallery: Sequence[Pair], direction: Direction) -> float:
    """Return R@1 of a model that sees place and light alone, with random tie-breaking."""
    seen = [(pair.sighting.place, pair.sighting.light) for pair in gallery]
    backgrounds, captions = Counter(seen), Counter(pair.background for pair in gallery)
    fitting = {
        words: sum(n for background, n in backgrounds.items() if _fits(words, background))
        for words in captions
    }
    if direction == "text_to_image":
        return fmean(1 / fitting[pair.background] for pair in gallery)
    # The best guess for an image is a caption that fits it and fewest others.
    hits = []
    for pair, background in zip(gallery, seen, strict=True):
        fewest = min(n for words, n in fitting.items() if _fits(words, background))
        tied = sum(
            captions[words]
            for words, n in fitting.items()
            if n == fewest and _fits(words, background)
        )
        hits.append(1 / tied if fitting[pair.background] == fewest else 0)
    return fmean(hits)


def _described(sighting: Sighting, size: int) -> Background:
    found = {
        span.type: _MEANT[span.type, span.value.lower()]
        for span in caption(sighting, size)[1]
        if span.type in ("place", "light")
    }
    return found.get("place"), found.get("light")


def _fits(described: Background, background: tuple[str, str]) -> bool:
    return all(word in (None, truth) for word, truth in zip(described, background, strict=True))


def main() -> None:
    """Print R@1 of each probe in percent."""
    parser = argparse.ArgumentParser(description="Scores of probes that see one fact only.")
    parser.add_argument("--categories", type=int, default=120)
    parser.add_argument("--pairs", type=int, default=2400)
    options = parser.parse_args()
    found = galleries(options.categories, options.pairs)
    rows = [
        ("category name only, pessimistic ties", [name_only(g, "against") for g in found]),
        ("category name only, random tie-breaking", [name_only(g, "random") for g in found]),
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
        print(f"{name:45s} {100 * fmean(values):6.2f} %")


if __name__ == "__main__":
    main()
