import pickle
from collections import Counter
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fdrd.negatives import (
    clean_given,
    draw_batch,
    draw_negatives,
    fix_articles,
    make_catalog,
    name_given,
    parse_given,
)
from fdrd.negatives.given import plain
from fdrd.record import ImageRef, Negative, Record, Source
from fdrd.text.attributes import find_attributes
from fdrd.text.mentions import key


def record(caption, category, id="d/1"):
    attributes = find_attributes(caption, category)
    return Record(id, ImageRef("1.jpg"), caption, category, Source("1.jpg"), attributes=attributes)


def drawn(pair, catalog, **options):
    return draw_negatives(pair, [pair.caption], catalog, **options)


def captions(pair, catalog, **options):
    return [negative.caption for negative in drawn(pair, catalog, **options)]


def swapped(caption, category, *others):
    """Return the negatives of a caption whose catalog has nothing but these names."""
    return captions(record(caption, category), make_catalog([], names=[category, *others]))


@pytest.mark.parametrize(
    ("caption", "category", "others", "expected"),
    [
        (  # with article, plural and capital
            "Pugs bark. A pug is a PUG; two pugs.",
            "pug",
            ["Egyptian Mau"],
            "Egyptian Maus bark. An Egyptian Mau is an Egyptian Mau; two Egyptian Maus.",
        ),
        *(  # all separators are equivalent
            (f"A {written}.", "crocodile_head", ["emu"], "An emu.")
            for written in ("crocodile_head", "crocodile-head", "Crocodile  Head")
        ),
        ("Two Siameses.", "Siamese", ["mayfly"], "Two mayflies."),  # a regular plural
        ("Two mayflys.", "mayfly", ["Siamese"], "Two Siamese."),
        ("一只猫在睡觉", "猫", ["狗"], "一只狗在睡觉"),  # a script without spaces
        # spellings of the true category are no negatives, and no article precedes scissors
        ("A wild cat.", "wild_cat", ["Wild Cat", "wild cats", "dog"], "A dog."),
        ("A pug.", "pug", ["scissors", "wrench"], "A wrench."),
        *(
            (f"see {name}.", name, ["emu"], "see emu.")
            for name in ("แมว", "고양이", "кошка", "बिल्ली", "colt's foot", "C++", "9-3", "İstanbul")
        ),
        # a name inside of a longer name is not a mention
        ("A bobcat.", "cat", ["bobcat", "dog"], ""),
        ("An A380-800.", "A380", ["A380-800", "dog"], ""),
        ("A wild cat.", "cat", ["wild cat", "dog"], ""),
        ("A crocodile_head.", "crocodile", ["crocodile head", "dog"], ""),
        ("Two wild cats.", "cat", ["wild cat", "dog"], ""),
        ("A 747-400.", "747", ["747-8", "dog"], ""),
        ("A cute animal.", "pug", ["boxer", "dog"], ""),  # without its category
    ],
)
def test_every_mention_is_replaced_and_nothing_else(caption, category, others, expected):
    assert swapped(caption, category, *others) == ([expected] if expected else [])


def test_names_are_spelled_as_in_the_captions():
    pairs = [record("A Shiba Inu.", "shiba inu"), record("A pug.", "pug")]
    assert captions(pairs[1], make_catalog(pairs)) == ["A Shiba Inu."]


def domain(**captions_of):
    """Return the catalog of categories, each with three copies of its captions, and the first record."""
    pairs = [
        record(caption, category.replace("_", " "), f"{category}/{number}")
        for category, texts in captions_of.items()
        for number, caption in enumerate(texts * 3)
    ]
    return make_catalog(pairs), pairs[0]


@pytest.mark.parametrize(
    ("captions_of", "expected"),
    [
        (  # the part with the same place in the name
            {
                "grand_piano": ["A grand piano. The piano is old, two pianos."],
                "windsor_chair": ["A windsor chair. The chair is old."],
            },
            "A windsor chair. The chair is old, two chairs.",
        ),
        (  # the full name if no part of it is used alone
            {"grand_piano": ["A grand piano. The piano is old."], "ant": ["An ant."]},
            "An ant. The ant is old.",
        ),
        (
            {
                "2012_Bentley_Arnage": ["A 2012 Bentley Arnage. A Bentley car."],
                "2010_Aston_Martin_DB9": ["A 2010 Aston Martin DB9. An Aston Martin car, the DB9."],
            },
            "A 2010 Aston Martin DB9. An Aston Martin car.",
        ),
        (  # a word of the whole domain
            {"cape_flower": ["A cape flower. A red flower."], "rose": ["A rose. A red flower."]},
            "A rose. A red flower.",
        ),
        (  # part of the subject
            {"cougar_face": ["A cougar face. A lynx with a white face."], "emu": ["An emu."]},
            "An emu. A lynx with a white face.",
        ),
        (
            {
                "car_side": ["A car side at the side of a road."],
                "emu": ["An emu at the side of it."],
            },
            "An emu at the side of a road.",
        ),
    ],
)
def test_a_short_name_is_replaced_by_a_short_name_and_other_uses_of_its_words_stay(
    captions_of, expected
):
    catalog, pair = domain(**captions_of)
    assert [captions(pair, catalog, seed=seed) for seed in range(9)] == [[expected]] * 9


def test_articles_before_the_category_are_fixed():
    fixed = fix_articles("This is a azalea. An azaleas' bed.", "azalea")
    assert fixed == "This is an azalea. An azaleas' bed."
    assert fix_articles("An rose, a azalea.", "rose") == "A rose, a azalea."
    assert fix_articles("An an  _kestrel.", "kestrel") == "An a  _kestrel."
    assert fix_articles("an \u212aestrel", "kestrel") == "a \u212aestrel"  # the sign for kelvin
    assert fix_articles("A\tAzaleas' bed.", "_azalea") == "An\tAzaleas' bed."


letters = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=9
)
hard_names = st.sampled_from(
    "cat|bobcat|wild cat|wild_cats|A380|A380-800|747-400|colt's foot|猫|黑猫|scissors|Egyptian Mau|hour|"
    "a|C++|-|_|é".split("|")
)
names = st.lists(letters | hard_names, min_size=1, max_size=7, unique=True)
texts = st.text(max_size=20)


@settings(max_examples=60, deadline=None)
@given(names, texts, texts, st.integers(0, 9), st.integers(0, 3), st.data())
def test_negatives_of_any_caption_are_wrong_distinct_and_reproducible(
    all_names, before, after, k, n_attribute, data
):
    category = data.draw(st.sampled_from(all_names))
    other = data.draw(st.sampled_from(all_names))
    pair = record(f"{before} {category} {after}", category)
    also_true = [pair.caption, f"{before} {other} {after}"]
    catalog = make_catalog([pair], names=all_names)
    found = draw_negatives(pair, also_true, catalog, k=k, n_attribute=n_attribute, seed=3)
    wrong = [plain(negative.caption) for negative in found]
    assert len(wrong) == len(set(wrong)) <= k
    assert not set(wrong) & {plain(caption) for caption in also_true}
    for negative in found:
        if negative.kind == "category":
            assert key(negative.category) != key(category)
            assert negative.category in all_names
        else:
            assert negative.category == category
    assert found == draw_negatives(pair, also_true, catalog, k=k, n_attribute=n_attribute, seed=3)


PAIRS = [
    record(f"A {color} {name} {pose} on the {place}.", name, f"pets/{number}")
    for number, (color, name, pose, place) in enumerate(
        [
            ("black", "pug", "sitting", "grass"),
            ("white", "pug", "standing", "snow"),
            ("brown", "boxer", "sitting", "couch"),
            ("black", "boxer", "lying", "bed"),
            ("gray", "sphynx", "sitting", "bed"),
            ("white", "sphynx", "lying", "grass"),
        ]
        * 3
    )
]


def test_draws_do_not_depend_on_the_order_of_records_or_on_pickling():
    catalog = make_catalog(PAIRS)
    backwards = pickle.loads(pickle.dumps(make_catalog(PAIRS[::-1])))
    assert backwards.digest == catalog.digest
    for pair in PAIRS:
        assert drawn(pair, catalog, n_attribute=2) == drawn(pair, backwards, n_attribute=2)


@pytest.mark.parametrize("n_attribute", [0, 1, 3])
def test_a_batch_draws_what_single_records_draw(n_attribute):
    """Also where a record names no category, is of none that is known, or has nothing to edit."""
    catalog = make_catalog(PAIRS)
    pairs = [record("A dog.", "pug"), *PAIRS, record("A cat.", "unknown"), record("", ""), PAIRS[0]]
    k = [number % 5 for number in range(len(pairs))]
    true = [{plain(pair.caption)} for pair in pairs]
    batch = draw_batch(pairs, true, catalog, k=k, n_attribute=n_attribute, seed=3)
    alone = [
        draw_negatives(pair, captions, catalog, k=each, n_attribute=n_attribute, seed=3)
        for pair, captions, each in zip(pairs, true, k, strict=True)
    ]
    assert batch == alone
    assert len({len(drawn) for drawn in batch}) > 2
    assert draw_batch([], [], catalog, k=[], n_attribute=n_attribute) == []


def test_seed_epoch_and_id_change_the_draw():
    catalog = make_catalog([], names=[f"n{i}" for i in range(50)])
    pair = record("A n7.", "n7")
    first = captions(pair, catalog)
    assert first != captions(pair, catalog, seed=1)
    assert first != captions(pair, catalog, epoch=1)
    assert first != captions(replace(pair, id="d/2"), catalog)


def test_each_category_is_a_negative_as_often_as_it_is_true():
    """Half of 400 captions have one category, so about half of the negatives must have it."""
    sizes = {"common": 200, **{f"rare{i}": 20 for i in range(10)}}
    pairs = [
        record(f"A {name}.", name, f"{name}/{i}") for name in sizes for i in range(sizes[name])
    ]
    catalog = make_catalog(pairs)
    counts = Counter(n.category for pair in pairs for n in drawn(pair, catalog, k=1))
    assert abs(counts["common"] - 200) < 40
    assert max(counts[name] for name in sizes if name != "common") < 45


def test_negatives_fit_the_other_words_of_the_caption():
    described = {"sphynx": "hairless", "xolo": "hairless", "puli": "woolly", "komondor": "woolly"}
    pairs = [
        record(f"A {word} {name}.", name, f"{name}/{i}")
        for name, word in described.items()
        for i in range(30)
    ]
    catalog = make_catalog(pairs)
    first = [drawn(pair, catalog, k=1)[0].category for pair in pairs if pair.category == "sphynx"]
    assert first.count("xolo") > 25


def test_an_attribute_swap_changes_one_value_of_its_type():
    catalog = make_catalog(PAIRS)
    types = Counter()
    for pair, seed in product(PAIRS, range(5)):
        for negative in drawn(pair, catalog, k=4, n_attribute=4, seed=seed):
            if negative.kind == "category":
                continue
            assert negative.category == pair.category
            words = zip(pair.caption.split(), negative.caption.split(), strict=True)
            assert sum(one != other for one, other in words) == 1
            types[negative.attribute_type] += 1
    assert types.keys() == {"color", "pose", "place"}


def test_an_attribute_swap_fixes_the_article_and_repeats_no_color():
    colors = "orange green white purple".split()
    pairs = [
        record(
            f"{'An' if one == 'orange' else 'A'} {one} cat with {two} paws.",
            "cat",
            f"{one}{two}{n}",
        )
        for one, two in permutations(colors, 2)
        for n in range(5)
    ]
    catalog = make_catalog(pairs)
    found = {text for pair in pairs for text in captions(pair, catalog, k=9, n_attribute=9)}
    assert found == {pair.caption for pair in pairs}


@pytest.mark.parametrize(
    ("caption", "kind"), [("The pug.", "category"), ("The red animal.", "attribute")]
)
def test_one_kind_fills_in_for_the_other(caption, kind):
    colors = "red green blue black white".split()
    known = [
        record(f"The {color} animal.", "pug", f"{color}/{n}") for color in colors for n in "abc"
    ]
    catalog = make_catalog(known, names=["pug", "boxer", "sphynx", "puli", "van"])
    found = [drawn(record(caption, "pug", f"d/{n}"), catalog, k=2, n_attribute=1) for n in range(9)]
    assert {negative.kind for negatives in found for negative in negatives} == {kind}
    assert max(map(len, found)) == 2


@pytest.mark.parametrize(
    ("caption", "positive", "category", "expected"),
    [
        ("A Egyptian Mau; the Egyptian Mau.", "A pug; the pug.", "pug", "Egyptian Mau"),
        ("An egyptian_mau.", "A pug.", "pug", "Egyptian Mau"),
        ("A mexican pug.", "A mexican petunia.", "mexican petunia", ""),
        ("A black pug.", "A black pug.", "pug", "pug"),
        ("A black pug.", "A white pug.", "pug", "pug"),  # of its own category
    ],
)
def test_the_category_of_a_given_negative_is_recognized(caption, positive, category, expected):
    catalog = make_catalog([], names=["pug", "Egyptian Mau", "mexican petunia", "petunia"])
    found = parse_given(caption, positive, category, catalog)
    kind = "attribute" if positive == "A white pug." else "category"
    assert found == Negative(caption, expected, kind)


@pytest.mark.parametrize(
    ("caption", "fixed", "named"),
    [
        ("A Egyptian Mau by the hour.", "An Egyptian Mau by the hour.", "Egyptian Mau"),
        ("An beagle by the hour.", "A beagle by the hour.", ""),  # unknown name
        ("A black hour, an Egyptian_mau.", "A black hour, an Egyptian_mau.", "Egyptian Mau"),
        ("A egyptian mau, an orange.", "An egyptian mau, an orange.", "Egyptian Mau"),
        ("An pug by a hour.", "A pug by a hour.", "pug"),
    ],
)
def test_the_article_before_the_category_of_a_given_negative_is_fixed(caption, fixed, named):
    catalog = make_catalog([], names=["pug", "Egyptian Mau"])
    unnamed = [Negative(caption, "", "category")]
    (found,), rules = name_given(unnamed, "A pug by the hour.", "pug", catalog)
    assert (found.caption, found.category) == (fixed, named)
    assert rules == (("negative_article",) if fixed != caption else ())


def test_a_given_negative_keeps_its_stated_category_and_kind():
    provided = [
        Negative("An pug in a orange coat.", "pug", "attribute", "color"),
        Negative("A pug.", "pug", "category"),
    ]
    found, rules = name_given(provided, "A pug.", "pug", make_catalog([], names=["pug"]))
    assert found == (replace(provided[0], caption="A pug in a orange coat."), provided[1])
    assert rules == ("negative_article",)


def test_equal_and_repeated_given_negatives_are_dropped_with_their_rules():
    provided = [
        Negative(text, "", "category") for text in ("A cat.", "a  CAT.", "A dog.", "A van.")
    ]
    kept, rules = clean_given(provided, {"a dog.", "a fox."})
    assert [n.caption for n in kept] == ["A cat.", "A van."]
    assert rules == ("negative_repeated", "negative_equal")
