"""What a backbone reads off a drawing: forced choices between the values of each attribute.

    python tools/probe_attributes.py                        # the embedded backbone on demo categories
    python tools/probe_attributes.py --backbone openai/clip-vit-base-patch32

For every trait that an image shows, a short caption is made of each of its values ("a bird with a
forked tail", "a bird with a square tail"), and the image must prefer the true one to all others;
equals count against it. Rows are attribute types; chance is one over the number of values.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

import torch

from benchmark import load_backbone
from fdrd.field_guide import Category, categories, draw
from fdrd.field_guide.caption import LIGHT_WORDS, PLACE_WORDS, article, typed, unmark
from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.sighting import Sighting
from fdrd.field_guide.traits import MetaCategory, Trait


@dataclass(frozen=True, slots=True)
class Choice:
    """Captions of which the first is true."""

    type: str
    captions: tuple[str, ...]


def choices(sighting: Sighting, size: int) -> Iterator[Choice]:
    """All choices that an image offers."""
    kind, values = sighting.category.kind, sighting.values
    others = [other.name for other in meta_categories() if other.name != kind.name]
    yield Choice(
        "meta-category", tuple(f"a photo of {article(name)}" for name in [kind.name, *others])
    )
    one = article(kind.name)
    places = {place: f"{one} {_plain(words[0], '')}" for place, words in PLACE_WORDS.items()}
    yield _choice("place", places, sighting.place)
    if sighting.light in LIGHT_WORDS:
        lights = {light: f"{one} {_plain(words[0], '')}" for light, words in LIGHT_WORDS.items()}
        yield _choice("light", lights, sighting.light)
    counts = {1: one, 2: f"two {kind.plural}", 3: f"three {kind.plural}"}
    yield _choice("count", {str(n): words for n, words in counts.items()}, str(sighting.count))
    for trait in kind.traits:
        hidden = trait.unless and values[trait.unless[0]] in trait.unless[1]
        said = {
            value.key: _said(kind, trait, value.words[0]) for value in trait.values if value.words
        }
        legible = trait.legible <= sighting.share * size
        if legible and not hidden and values[trait.name] in said and len(said) > 1:
            yield _choice(trait.type, said, values[trait.name])


def _choice(kind: str, captions: dict[str, str], true: str) -> Choice:
    wrong = [words for key, words in captions.items() if key != true]
    return Choice(kind, (captions[true], *wrong))


def _said(kind: MetaCategory, trait: Trait, marked: str) -> str:
    words = _plain(marked, trait.type)
    if trait.slot == "adjective":
        return article(f"{words} {kind.name}")
    return (
        f"{article(kind.name)} with {words}"
        if trait.slot == "with"
        else f"{article(kind.name)}, {words}"
    )


def _plain(marked: str, kind: str) -> str:
    return unmark(typed(marked, kind or "place"))[0]


@torch.no_grad()
def probe(
    spec: str, chosen: list[Category], images: int, seed: int
) -> dict[str, tuple[float, float, int]]:
    """(accuracy, chance, number of choices) by attribute type."""
    backbone = load_backbone(spec, allow_code=True)
    known: dict[str, torch.Tensor] = {}
    won: dict[str, list[bool]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for category in chosen:
        plates = [draw(category, image, seed=seed) for image in range(images)]
        seen = backbone.encode_image([plate.image for plate in plates]).pooled
        for plate, image in zip(plates, seen, strict=True):
            offered = list(choices(plate.sighting, len(plate.pixels)))
            new = {text for choice in offered for text in choice.captions} - known.keys()
            if new:
                texts = sorted(new)
                known |= zip(texts, backbone.encode_text(texts).pooled, strict=True)
            for choice in offered:
                scores = torch.stack([known[text] for text in choice.captions]) @ image
                won[choice.type].append(bool((scores[0] > scores[1:]).all()))
                chance[choice.type].append(1 / len(choice.captions))
    return {
        kind: (fmean(hits), fmean(chance[kind]), len(hits)) for kind, hits in sorted(won.items())
    }


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backbone", default="embedded")
    parser.add_argument("--categories", type=int, default=60)
    parser.add_argument("--images", type=int, default=20, help="of each category")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    found = probe(given.backbone, categories(given.categories), given.images, given.seed)
    print("| attribute type | right | chance | choices |\n|---|---|---|---|")
    for kind, (accuracy, chance, number) in found.items():
        print(f"| {kind} | {100 * accuracy:.1f} | {100 * chance:.1f} | {number:,} |")


if __name__ == "__main__":
    main()
