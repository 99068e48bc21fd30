"""Natural pairs: each caption is false for the image of the other, whatever the order of the records."""

import random

import numpy as np
import pytest

from fdrd.negatives import make_catalog, natural_pairs
from fdrd.negatives.given import plain
from fdrd.negatives.natural_pairs import Captioned, state
from fdrd.negatives.values import excluded
from fdrd.record import ImageRef, Record, Source, TaggedCaption
from fdrd.text.attributes import find_attributes
from fdrd.text.normalize import text_key


def record(name, category, caption, image=None, group=""):
    found = find_attributes(caption, category)
    source = Source("x.jpg", sha256=image or name)
    return Record(name, ImageRef("x.jpg"), caption, category, source, group=group, attributes=found)


def matched(records):
    """Return the pairs of each kind, as sets of names."""
    catalog = make_catalog(records)
    names = catalog.categories, catalog.index, catalog.index_of
    statements = [
        state(TaggedCaption(r.caption, r.category, r.attributes), *names) for r in records
    ]
    category = np.array([catalog.index_of.get(r.category, -1) for r in records])

    def numbers(values):
        return np.unique(values, return_inverse=True)[1]

    captioned = Captioned(
        key=np.array([text_key(r.id) for r in records], np.uint64),
        image=numbers([r.source.sha256 for r in records]),
        group=numbers([r.group or r.source.sha256 for r in records]),
        text=np.array([text_key(plain(r.caption)) for r in records], np.uint64),
        category=category,
        statements=statements,
    )
    related = [each.same for each in catalog.categories]
    found = {}
    for kind, partner in natural_pairs.natural_pairs(captioned, related).items():
        for row, other in enumerate(partner.tolist()):
            assert other < 0 or partner[other] == row
        found[kind] = {
            frozenset([records[row].id, records[other].id])
            for row, other in enumerate(partner.tolist())
            if other >= 0
        }
    return found


def pair(*names):
    return frozenset(names)


FILLER = [
    record(f"f{n}", name, f"A {name} number {n} is seen somewhere else entirely.")
    for n, name in enumerate(["pug", "tabby", "heron"] * 30)
]
"""Captions that make shared words rare, and the names unlikely to occur together."""


def test_pairs_the_most_similar_captions_of_two_categories():
    records = [
        record("a", "pug", "A pug sleeps on a velvet cushion beside lanterns."),
        record("b", "tabby", "A tabby sleeps on a velvet cushion beside lanterns."),
        record("c", "tabby", "A tabby drinks milk."),
        record("d", "heron", "A heron drinks milk."),
    ]
    found = matched(records + FILLER)["category"]
    assert pair("a", "b") in found
    assert pair("c", "d") in found


@pytest.mark.parametrize(
    ("caption", "other"),
    [
        ("An animal sleeps on velvet.", "A tabby sleeps on velvet."),  # its category is not named
        ("A pug sleeps on velvet.", "A tabby beside a pug sleeps on velvet."),  # the other's is
    ],
)
def test_no_category_pair_of_captions_that_may_both_be_true(caption, other):
    found = matched([record("a", "pug", caption), record("b", "tabby", other), *FILLER])
    assert not any({"a", "b"} == each for each in found["category"])


@pytest.mark.parametrize(
    ("name", "other"),
    [("crocodile", "crocodile head"), ("cougar body", "cougar face"), ("Shiba_Inu", "shiba inus")],
)
def test_no_category_pair_of_names_that_may_mean_one_thing(name, other):
    records = [record("a", name, f"A {name} rests."), record("b", other, f"A {other} rests.")]
    assert matched(records) == {"category": set(), "attribute": set()}


def test_categories_that_captions_name_together_are_no_pair():
    apart = [record("a", "lotus", "A lotus floats."), record("b", "buddha", "A buddha floats.")]
    assert matched(apart)["category"] == {pair("a", "b")}
    together = record("c", "buddha", "A buddha sits on a lotus.")
    assert matched([*apart, together])["category"] == set()


def test_pairs_colors_of_one_noun_that_exclude_each_other():
    records = [
        record("a", "plane", "A plane with a red tail on the runway."),
        record("b", "plane", "A plane with a blue tail on the runway."),
    ]
    assert matched(records)["attribute"] == {pair("a", "b")}


@pytest.mark.parametrize(
    "others",
    [
        *(
            [record("b", "plane", f"A plane with {other}")]
            for other in (
                "an orange tail on the runway.",  # one thing may be called both
                "a blue and red tail on the runway.",
                "a blue tail and a red door on the runway.",  # red is said of the image
                "a blue door on the runway.",  # of another noun
                "a tail on the runway, blue.",
            )
        ),
        [record("b", "heron", "A heron with a blue tail.")],  # of another category
        [  # all captions of an image count
            record("b", "plane", "A plane with a blue tail."),
            record("c", "plane", "A plane with red stripes.", image="b"),
        ],
        [record("b", "plane", "A plane with a blue tail.", image="a")],
        [record("b", "plane", "A plane with a blue tail.", group="a")],
    ],
)
def test_no_attribute_pair_unless_each_value_is_excluded_for_another_image(others):
    records = [record("a", "plane", "A plane with a red tail on the runway."), *others]
    assert matched(records)["attribute"] == set()


def many(count):
    draw = random.Random(0)
    nouns, colors = ("tail", "wing", "beak"), ("red", "blue", "black", "green")
    words = [f"word{number}" for number in range(200)]
    return [
        record(
            f"r{number}",
            name := draw.choice(["plane", "heron", "pug"]),
            f"A {name} with a {draw.choice(colors)} {draw.choice(nouns)} {' '.join(draw.sample(words, 6))}.",
        )
        for number in range(count)
    ]


def test_does_not_depend_on_the_order(monkeypatch):
    monkeypatch.setattr(natural_pairs, "BLOCK", 16)  # several blocks and rounds
    records = many(150)
    found = matched(records)
    assert len(found["category"]) > 60
    assert len(found["attribute"]) > 30
    random.Random(1).shuffle(records)
    assert matched(records) == found


def test_similar_words_share_a_block(monkeypatch):
    monkeypatch.setattr(natural_pairs, "BLOCK", 16)
    twins = [
        record(f"{side}{number}", name, f"A {name} {' '.join(f'w{number}x{k}' for k in range(8))}.")
        for number in range(60)
        for side, name in (("a", "pug"), ("b", "heron"))
    ]
    found = matched(twins)["category"]
    assert found == {pair(f"a{number}", f"b{number}") for number in range(60)}


@pytest.mark.parametrize(
    ("type_", "value", "other", "expected"),
    [
        ("color", "red", "blue", True),
        ("color", "dark brown", "white", True),
        ("color", "light brown", "white", False),
        ("color", "white", "light brown", False),
        ("color", "gray", "silver", False),
        ("color", "multicolored", "red", False),
        ("count", "two", "four", True),
        ("count", "three", "several", False),
    ],
)
def test_excluded(type_, value, other, expected):
    assert excluded(type_, value, other) is expected
    assert excluded(type_, other, value) is expected
