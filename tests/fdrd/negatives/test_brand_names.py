"""The text-only baseline on negatives of car models, whose captions repeat parts of the name."""

import random
import sys

from fdrd.checks.text_only import text_only_accuracy
from fdrd.negatives import draw_negatives, make_catalog
from fdrd.record import ImageRef, Record, Source

MODELS = {
    "2012 Bentley": ("Continental", "Arnage", "Mulsanne"),
    "2010 BMW": ("X5", "M3", "Z4"),
    "2009 Audi": ("A5", "TT", "R8"),
    "2007 Aston Martin": ("Virage", "Vantage", "DB9"),
    "2011 Ford": ("Mustang", "Focus", "Edge"),
}


def car_records():
    """Return captions such as "This is a photo of 2012 Bentley Arnage. A red Bentley car is on display."."""
    draw = random.Random(0)
    records = []
    for number in range(1200):
        made = draw.choice(sorted(MODELS))
        model = draw.choice(MODELS[made])
        year, brand = made.split(" ", 1)
        color = draw.choice("black white silver red blue gray brown green".split())
        place = draw.choice(("on display", "parked on a street", "beside a building", "on a road"))
        text = draw.choice(
            (
                f"A {color} {brand} car is {place}",
                f"The {brand} {model} is {color} and {place}",
                f"The {year} {brand} has {color} paint and is {place}",
                f"A {color} car is {place}, with the {brand} logo on its hood",
            )
        )
        caption = f"This is a photo of {made} {model}. {text}."
        image = ImageRef(f"{number}.jpg")
        records.append(Record(f"cars/{number}", image, caption, f"{made} {model}", Source("")))
    return records


def test_text_barely_gives_away_the_negatives_of_car_models():
    records = car_records()
    catalog = make_catalog(records)
    rows = [
        (each.caption, [n.caption for n in draw_negatives(each, [each.caption], catalog, k=2)])
        for each in records
    ]
    full = [row for row in rows if len(row[1]) == 2]
    assert len(full) > 0.5 * len(rows)
    words, context = (text_only_accuracy(full, reader) for reader in ("words", "context"))
    shown = f"words {100 * words.accuracy:.1f}, context {100 * context.accuracy:.1f}"
    sys.stdout.write(f"\n{shown}\n")  # by `pytest -s`
    assert words.accuracy < 0.4
    assert context.accuracy < 0.4  # chance is 1/3
