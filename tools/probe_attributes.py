"""Measure which attributes a backbone recognizes in drawings, as a forced choice between their values.

    python tools/probe_attributes.py                        # the embedded backbone on demo categories
    python tools/probe_attributes.py --backbone openai/clip-vit-base-patch32

Every value of a visible trait becomes a short caption ("a bird with a forked tail", "a bird with a square
tail"). The image must prefer the true caption to all others, and ties count as errors.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from statistics import fmean

import torch

from benchmark import load_backbone
from fdrd.field_guide import Category, categories, draw
from fdrd.field_guide.caption import LIGHT_WORDS, PLACE_WORDS, article, typed, unmark
from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.sighting import Sighting

Choice = tuple[str, dict[str, str], str]
"""Attribute type, caption of each value, and the true value."""


def choices(sighting: Sighting, size: int) -> Iterator[Choice]:
    """Yield all choices for an image."""
    kind, values = sighting.category.kind, sighting.values
    one = article(kind.name)
    names = {each.name: f"a photo of {article(each.name)}" for each in meta_categories()}
    yield "meta-category", names, kind.name
    for type_, table, true in (
        ("place", PLACE_WORDS, sighting.place),
        ("light", LIGHT_WORDS, sighting.light),
    ):
        if true in table:
            yield type_, {key: f"{one} {_plain(words[0])}" for key, words in table.items()}, true
    counts = {"1": one, "2": f"two {kind.plural}", "3": f"three {kind.plural}"}
    yield "count", counts, str(sighting.count)
    for trait in kind.traits:
        hidden = trait.unless and values[trait.unless[0]] in trait.unless[1]
        captions = {}
        for value in trait.values:
            if value.words:
                words = _plain(value.words[0], trait.type)
                captions[value.key] = {
                    "adjective": article(f"{words} {kind.name}"),
                    "with": f"{one} with {words}",
                }.get(trait.slot, f"{one}, {words}")
        legible = trait.legible <= sighting.share * size
        if legible and not hidden and values[trait.name] in captions and len(captions) > 1:
            yield trait.type, captions, values[trait.name]


def _plain(marked: str, type_: str = "place") -> str:
    return unmark(typed(marked, type_))[0]


@torch.no_grad()
def probe(
    spec: str, chosen: list[Category], images: int, seed: int
) -> dict[str, tuple[float, float, int]]:
    """Return (accuracy, chance, number of choices) by attribute type."""
    backbone = load_backbone(spec, allow_code=True)
    results: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for category in chosen:
        plates = [draw(category, image, seed=seed) for image in range(images)]
        offered = [list(choices(plate.sighting, len(plate.pixels))) for plate in plates]
        texts = sorted({text for each in offered for _, said, _ in each for text in said.values()})
        known = dict(zip(texts, backbone.encode_text(texts).pooled, strict=True))
        features = backbone.encode_image([plate.image for plate in plates]).pooled
        for image, of_image in zip(features, offered, strict=True):
            for type_, captions, true in of_image:
                scores = {key: float(known[text] @ image) for key, text in captions.items()}
                best = scores.pop(true)
                results[type_].append((best > max(scores.values()), 1 / len(captions)))
    return {
        type_: (fmean(won for won, _ in each), fmean(chance for _, chance in each), len(each))
        for type_, each in sorted(results.items())
    }


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--categories", type=int, default=60)
    parser.add_argument("--images", type=int, default=20, help="of each category")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = probe(options.backbone, categories(options.categories), options.images, options.seed)
    print("| attribute type | correct | chance | choices |\n|---|---:|---:|---:|")
    for type_, (accuracy, chance, number) in found.items():
        print(f"| {type_} | {100 * accuracy:.1f} | {100 * chance:.1f} | {number:,} |")


if __name__ == "__main__":
    main()
