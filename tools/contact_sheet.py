"""Draw the contact sheet of the README: `python tools/contact_sheet.py docs/images/field_guide.png`.

A row is a meta-category: one image of each species of a genus, then the same for another genus.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from fdrd.field_guide.meta_categories import meta_categories
from fdrd.field_guide.plate import draw
from fdrd.field_guide.taxonomy import SPECIES, categories

THUMBNAIL, GAP = 84, 2
"""Pixels."""

COLUMNS = 10
PER_GENUS = COLUMNS // 2


def contact_sheet() -> Image.Image:
    """Return the sheet, with few enough colors for a small file."""
    kinds = meta_categories()
    chosen = categories(2 * SPECIES * len(kinds))
    cell = THUMBNAIL + GAP
    sheet = Image.new("RGB", (COLUMNS * cell + GAP, len(kinds) * cell + GAP), "white")
    for row, kind in enumerate(kinds):
        species = [category for category in chosen if category.kind == kind]
        shown = species[:PER_GENUS] + species[SPECIES : SPECIES + PER_GENUS]
        for column, category in enumerate(shown):
            plate = draw(category, image=2 * column)
            thumbnail = plate.image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
            sheet.paste(thumbnail, (GAP + column * cell, GAP + row * cell))
    return sheet.quantize(256, Image.Quantize.FASTOCTREE)


if __name__ == "__main__":
    contact_sheet().save(Path(sys.argv[1]), optimize=True)
