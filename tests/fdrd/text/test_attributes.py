import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdrd.text.attributes import TYPES, find_attributes
from tests.real import REAL, needs_real

TESTS = Path(__file__).parents[2]
LABELS = json.loads((TESTS / "data" / "attribute_labels.json").read_text())
FIVE = {"color", "count", "place", "pose", "material"}


def spans(caption, category=""):
    return [(a.type, a.value) for a in find_attributes(caption, category)]


def test_all_types_are_found_in_one_caption():
    caption = (
        'A close-up of two small, striped Honda caps with the word "RACE", round wooden buttons and '
        "a red brim, lying on the grass in bright sunlight."
    )
    found = "viewpoint:close-up count:two size:small pattern:striped brand:Honda text:RACE"
    found += " shape:round material:wooden part:buttons color:red pose:lying place:grass"
    assert spans(caption) == [tuple(each.split(":")) for each in f"{found} light:sunlight".split()]


@pytest.mark.parametrize(
    ("caption", "category", "expected"),
    [
        # a mention of the category is not an attribute
        ("A Yellow-Iris with a black iris.", "yellow iris", "color:black"),
        ("This is a photo of striped. A striped rug.", "striped", ""),
        # leaves are a part of the flower, or a place around it; "one" may be a pronoun
        ("A flower with green leaves.", "", "color:green part:leaves"),
        ("A flower surrounded by green leaves.", "", "color:green place:leaves"),
        ("It stands on one leg.", "", "pose:stands count:one part:leg"),
        ("The left one is red.", "", "color:red"),
    ],
)
def test_words_have_the_type_of_their_sense(caption, category, expected):
    assert spans(caption, category) == [tuple(each.split(":")) for each in expected.split()]


def test_a_shade_is_part_of_its_color():
    shades = ["light gray", "dark blue", "cream-colored"]
    assert spans(", ".join(shades)) == [("color", shade) for shade in shades]


def assert_valid(attributes, caption):
    end = 0
    for attribute in attributes:
        assert attribute.type in TYPES
        assert attribute.value == caption[attribute.start : attribute.end] != ""
        assert attribute.start >= end
        end = attribute.end


@given(st.text(max_size=80), st.text(max_size=12))
def test_spans_of_any_text_are_valid(caption, category):
    found = find_attributes(caption, category)
    assert_valid(found, caption)


words = st.sampled_from(
    "red two dogs on the grass sitting “ ” ' striped Honda café 犬 - light blue".split()
)


@given(st.lists(words, max_size=20).map(" ".join))
def test_spans_of_any_words_are_valid(caption):
    found = find_attributes(caption, "dog")
    assert_valid(found, caption)


@needs_real
def test_held_out_captions_are_tagged_as_by_hand():
    captions = {}
    for path in sorted(REAL.glob("*/*.json")):
        for key, fields in json.loads(path.read_text()).items():
            digest = hashlib.sha256(fields["positive"].encode()).hexdigest()
            category = fields.get("class_name") or key.rsplit("_", 1)[0]
            captions.setdefault(digest, (fields["positive"], category))
    right, found, labeled = Counter(), Counter(), Counter()
    for label in LABELS:
        if label["half"] != "report":
            continue
        truth = {tuple(span) for span in label["spans"]}
        tagged = {(a.start, a.end, a.type) for a in find_attributes(*captions[label["sha256"]])}
        labeled.update(type_ for *_, type_ in truth)
        found.update(type_ for *_, type_ in tagged)
        right.update(type_ for *_, type_ in truth & tagged)
    sys.stdout.write("\n")  # shown by `pytest -s`
    for kind in TYPES:
        n, k, hit = labeled[kind], found[kind], right[kind]
        shares = f"{hit / max(1, k):.3f} | {hit / max(1, n):.3f}"
        sys.stdout.write(f"| {kind} | {n} | {k} | {hit} | {shares} |\n")
    hits = sum(right[type_] for type_ in FIVE)
    assert hits / sum(found[type_] for type_ in FIVE) >= 0.85
    assert hits / sum(labeled[type_] for type_ in FIVE) >= 0.75
