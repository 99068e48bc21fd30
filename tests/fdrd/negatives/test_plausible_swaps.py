"""Swaps are plausible: captions of the domain use the value so, and no word of the caption contradicts the name."""

import random
from collections import Counter
from itertools import cycle

import pytest

from fdrd.build_config import BuildConfig
from fdrd.checks.text_only import text_only_accuracy
from fdrd.negatives import draw_negatives, make_catalog
from fdrd.negatives.draw import annotate
from fdrd.record import ImageRef, Record, Source
from fdrd.text.attributes import find_attributes


def record(caption, category, number, meta_category=""):
    more = {"meta_category": meta_category, "attributes": find_attributes(caption, category)}
    image, source = ImageRef("1.jpg"), Source("1.jpg")
    return Record(f"{category}/{number}", image, caption, category, source, **more)


def records(**captions_of):
    """Return three records of each caption."""
    return [
        record(caption.replace("_", " "), category.replace("_", " "), number)
        for category, captions in captions_of.items()
        for number, caption in enumerate(captions * 3)
    ]


def drawn(pairs, category=None, seeds=9, **options):
    """Yield each record, or those of a category, with each of its negatives over some seeds."""
    catalog = make_catalog(pairs)
    for pair in pairs:
        for seed in range(seeds if category in (None, pair.category) else 0):
            for negative in draw_negatives(pair, [pair.caption], catalog, seed=seed, **options):
                yield pair, negative


def negatives(pairs, category=None, seeds=9, **options):
    """Return the captions of all negatives that are `drawn`."""
    return {negative.caption for _, negative in drawn(pairs, category, seeds, **options)}


def attribute_swaps(pairs, category=None):
    return negatives(pairs, category, k=4, n_attribute=4) - negatives(pairs, category, k=4)


POSES = {
    "car": ["A car is parked on a road."],
    "airplane": ["An airplane is parked on a road.", "An airplane is flying over a road."],
    "bird": ["A bird is flying over a road.", "A bird is perched on a road."],
}


def test_no_car_flies_and_no_bird_is_parked():
    pairs = records(**{name: texts * 4 for name, texts in POSES.items()})
    pairs += records(car=["A car is flying over a road."])[:1]  # once is a mistake
    assert not any("flying" in each for each in attribute_swaps(pairs, "car"))
    assert not any("parked" in each for each in attribute_swaps(pairs, "bird"))


COLORS = "red white yellow blue".split()


@pytest.mark.parametrize(("times", "swapped"), [(2, False), (3, True)])
def test_a_value_is_swapped_in_where_three_captions_use_it(times, swapped):
    pairs = records(
        car=[f"A {one} car with a {two} hood." for one in COLORS for two in COLORS if one != two]
    )
    pairs += [record("A car with a green hood.", "car", f"g{number}") for number in range(times)]
    found = attribute_swaps(pairs)
    assert any("green hood" in each for each in found - {pair.caption for pair in pairs}) == swapped
    assert not any("green car" in each for each in found)


def test_a_value_is_known_from_the_meta_category():
    described = {"pug": ["sitting", "lying"], "boxer": ["sitting"], "sphynx": ["sitting"]}
    meta = {"pug": "dog", "boxer": "dog", "sphynx": "cat"}
    pairs = [
        record(f"A {name} is {pose} on grass.", name, number, meta[name])
        for name, poses in described.items()
        for number, pose in enumerate(poses * 10)
    ]
    assert any("lying" in each for each in negatives(pairs, "boxer", 90, k=4, n_attribute=4))
    assert not any("lying" in each for each in attribute_swaps(pairs, "sphynx"))


@pytest.mark.parametrize(("both", "swapped"), [(2, True), (10, False)])
def test_values_that_captions_have_together_do_not_exclude_each_other(both, swapped):
    grounds = [["grass"]] * 10 + [["snow"]] * 10 + [["grass", "snow"]] * both
    pairs = [
        record(f"A pug in the {' and in the '.join(some)}.", "pug", number)
        for number, some in enumerate(grounds)
    ]
    assert bool(attribute_swaps(pairs)) == swapped


def test_a_value_that_everyone_expects_is_rarely_swapped():
    """Where 19 of 20 leaves are green, a text-only model knows the true caption, so few swaps are drawn."""
    draw = random.Random(0)
    pairs = []
    for number in range(600):
        leaves = "black" if draw.random() < 0.05 else "green"
        text = (
            f"A {draw.choice(COLORS)} flower with {leaves} leaves on a {draw.choice(COLORS)} table."
        )
        pairs.append(record(text, f"f{number % 3}", number))
    catalog = make_catalog(pairs)
    rows, swapped = [], Counter()
    for pair in pairs:
        drawn = draw_negatives(pair, [pair.caption], catalog, k=2, n_attribute=2)
        drawn = [each for each in drawn if each.kind == "attribute"]
        rows.append((pair.caption, [each.caption for each in drawn]))
        before = {part for part in ("green", "black") if f"{part} leaves" in pair.caption}
        swapped[
            bool(before) and all(f"{min(before)} leaves" in each.caption for each in drawn)
        ] += 1
    assert swapped[False] < 0.15 * len(pairs)  # it was a third of them
    full = [row for row in rows if len(row[1]) == 2]
    assert len(full) > 0.7 * len(rows)  # a quarter repeats a color
    for reader in ("words", "context"):
        assert text_only_accuracy(full, reader).accuracy < 0.4  # chance is 1/3


def test_a_body_type_that_contradicts_the_new_name_is_not_left():
    kinds = dict.fromkeys(("GMC_Canyon", "Ford_Ranger"), "pickup truck")
    kinds |= dict.fromkeys(("Volvo_C30", "Mini_Cooper"), "hatchback")
    captions = {
        name: [f"This is a {name}. A {color} {kind}." for color in COLORS * 2]
        for name, kind in kinds.items()
    }
    pairs = records(**captions)
    found = negatives(pairs, k=4)
    assert "This is a Ford Ranger. A red pickup truck." in found
    assert not any("truck" in each and ("Volvo" in each or "Mini" in each) for each in found)
    assert not any("hatchback" in each and ("GMC" in each or "Ford" in each) for each in found)


def test_brand_and_model_move_together():
    pairs = records(
        Jeep_Patriot_SUV=["A Jeep Patriot SUV. A white Jeep."],
        Infiniti_QX56_SUV=["An Infiniti QX56 SUV. A white Infiniti."],
    )
    pairs.append(record("A Jeep Patriot SUV. A silver Jeep Patriot.", "Jeep Patriot SUV", "once"))
    found = {each for each in negatives(pairs, "Jeep Patriot SUV") if "silver" in each}
    assert found == {"An Infiniti QX56 SUV. A silver Infiniti."}


def test_a_capital_at_the_start_of_a_sentence_is_no_name():
    pairs = records(Red_Carnation=["A Red Carnation. Red petals."], rose=["A rose. Red petals."])
    assert negatives(pairs, "Red Carnation") == {"A rose. Red petals."}


@pytest.mark.parametrize("caption", ["A fast Acura car.", "A silver Acura SUV.", "A new SUV."])
def test_no_word_is_doubled(caption):
    pairs = records(car=[caption.replace("Acura", "car")], Acura=["An Acura."], SUV=["An SUV."])
    assert not {"A fast car car.", "A new SUV SUV."} & negatives(pairs)
    pairs = [record("This car is an Acura car.", "Acura", 0), *records(fast_car=["A fast car."])]
    assert negatives(pairs, "Acura") == set()

    pairs = records(yorkshire_terrier=["A yorkshire terrier. The terrier."], pug=["A pug."])
    pairs.append(record("A terrier yorkshire terrier.", "yorkshire terrier", "flaw"))
    assert negatives(pairs, "yorkshire terrier") == {"A pug. The pug."}


def test_one_of_several_colors_is_not_swapped():
    """A bird that is "red and white" may be black, too."""
    colors = ("red", "green", "black")
    pairs = records(
        bird=[f"A {one} and white bird with a {two} tail." for one in colors for two in colors]
    )
    found = list(drawn(pairs, seeds=1, k=4, n_attribute=4))
    assert found
    assert all(each.caption.startswith(pair.caption[:12]) for pair, each in found)


def swapped_words(pairs):
    """Return (value, its replacement) of all attribute swaps of some seeds."""
    return {
        words
        for pair, each in drawn(pairs, seeds=20, k=4, n_attribute=4)
        if each.kind == "attribute"
        for words in zip(pair.caption.split(), each.caption.split(), strict=True)
        if words[0] != words[1]
    }


def test_near_colors_are_not_swapped():
    pairs = records(car=[f"A {color} car." for color in ("red", "orange", "white", "gray")] * 4)
    found = swapped_words(pairs)
    assert {("red", "white"), ("white", "red")} <= found
    assert not found & {("red", "orange"), ("orange", "red"), ("white", "gray"), ("gray", "white")}


@pytest.mark.parametrize(("joined", "swapped"), [(1, True), (4, False)])
def test_colors_that_captions_of_the_category_join_are_not_swapped(joined, swapped):
    """A Birman called white may be white and brown."""
    pairs = records(birman=["A white birman.", "A brown birman."] * 10)
    pairs += [record("A white and brown birman.", "birman", f"both/{n}") for n in range(joined)]
    assert bool(swapped_words(pairs)) == swapped


@pytest.mark.parametrize(
    "caption",
    [
        "A motorcycle with {} accents.",  # accents have no clear color
        "Perhaps a {} motorcycle.",
        "A {} motorcycle. Its {} color stands out.",
        "A {} motorcycle with colorful stickers.",
        "A {} motorcycle beside a red-white-blue flag.",
    ],
)
def test_a_color_that_the_caption_leaves_open_is_not_swapped(caption):
    plain = records(
        motorcycle=[f"A {color} motorcycle with {color} doors." for color in COLORS] * 4
    )
    plain += records(motorcycle=[f"A {one} motorcycle." for one in ("red", "blue")] * 4)
    pairs = [record(caption.format("red", "red"), "motorcycle", f"it/{n}") for n in range(3)]
    catalog = make_catalog([*plain, *pairs])
    for pair, swapped in ((plain[-1], True), (pairs[0], False)):
        options = {"catalog": catalog, "k": 2, "n_attribute": 2}
        found = [draw_negatives(pair, [pair.caption], **options, seed=seed) for seed in range(20)]
        assert any(found) == swapped


def test_no_value_that_another_caption_of_the_image_has_is_swapped_in():
    pairs = records(car=[f"A {color} car." for color in ("red", "blue")] * 4)
    catalog, pair = make_catalog(pairs), pairs[0]

    def drawn(*captions):
        return {
            each.caption
            for seed in range(20)
            for each in draw_negatives(pair, captions, catalog, k=2, n_attribute=2, seed=seed)
        }

    assert drawn(pair.caption, "A fast car.") == {"A blue car."}
    assert drawn(pair.caption, "A dark blue car.") == set()


def test_no_category_whose_words_are_elsewhere_in_the_caption():
    others = {"C30_Hatchback": ["A C30 Hatchback."], "Fit_Sedan": ["A Fit Sedan."]}
    pairs = records(TL_Sedan=["A TL Sedan. This sedan is fast."], **others)
    assert negatives(pairs, "TL Sedan") == {"A Fit Sedan. This sedan is fast."}


@pytest.mark.parametrize("caption", ['A box with the text "Pizza Hut".', "A pizza-like cake."])
def test_no_category_within_a_quotation_or_a_word(caption):
    pairs = [record(caption, "pizza", "one"), *records(pizza=["A pizza."], stapler=["A stapler."])]
    catalog = make_catalog(pairs)
    assert not draw_negatives(pairs[0], [caption], catalog, k=1)
    assert draw_negatives(pairs[1], ["A pizza."], catalog, k=1)


def test_no_category_that_all_words_together_make_much_less_likely():
    """No single word is usual, so each alone contradicts nothing."""
    draw = random.Random(0)
    own = {name: [f"{name[0]}{n}" for n in range(40)] for name in ("harbor", "garden")}
    own["meadow"] = own["garden"]
    pairs = [
        record(f"A {name} with {' '.join(draw.sample(own[name], 8))}.", name, n)
        for name in own
        for n in range(40)
    ]
    found = negatives(pairs, "garden", seeds=3, k=2)
    assert any("A meadow" in each for each in found)
    assert not any("A harbor" in each for each in found)


LANGUAGES = {
    "de": [
        ("Katze", "Eine schwarze Katze liegt auf dem Sofa."),
        ("Kuh", "Eine braune Kuh steht auf der Wiese."),
        ("Hund", "Ein brauner Hund sitzt im Gras."),
        ("Vogel", "Ein Vogel sitzt im Baum."),
    ],
    "zh": [
        ("猫", "一只黑猫在沙发上睡觉。"),
        ("狗", "一只棕色的狗坐在草地上。"),
        ("马", "一匹棕色的马站在草地上。"),
    ],
    "ar": [
        ("قطة", "قطة سوداء تجلس على العشب."),
        ("كلب", "كلب بني يركض في الحديقة."),
        ("حصان", "حصان أبيض يقف."),
    ],
}


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_captions_in_any_language_that_name_their_category_get_category_swaps(language):
    pairs = [record(text, name, number) for number, (name, text) in enumerate(LANGUAGES[language])]
    catalog = make_catalog(pairs)
    for pair in pairs:
        found = draw_negatives(pair, [pair.caption], catalog, k=2, n_attribute=2)
        assert {each.kind for each in found} == {"category"}
        assert len(found) == 2
        for each in found:
            other = catalog.categories[catalog.index_of[each.category]]
            assert each.caption in {
                pair.caption.replace(pair.category, spelling) for spelling in other.spellings
            }


def test_a_german_article_is_not_left_before_a_noun_of_another_gender():
    """With enough captions: the article is a usual word of each category."""
    rest = cycle("liegt hier. steht dort. wartet. schaut. sitzt oben. geht weg.".split(". "))
    pairs = [
        record(f"{article} {name} {next(rest)}.", name, number)
        for article, names in (("Eine", ("Katze", "Kuh")), ("Ein", ("Hund", "Vogel")))
        for name in names
        for number in range(30)
    ]
    found = negatives(pairs, seeds=2, k=2)
    assert any(each.startswith("Eine Kuh") for each in found)
    assert not any(
        each.startswith(("Eine Hund", "Eine Vogel", "Ein Katze", "Ein Kuh")) for each in found
    )


@pytest.mark.parametrize(("times", "excluded"), [(1, False), (2, True)])
def test_a_name_that_captions_of_the_category_use_is_no_negative(times, excluded):
    pairs = records(
        perforated=["A perforated sheet."] * 3,
        meshed=["A meshed sheet."],
        dotted=["A dotted sheet."],
    )
    pairs += [record("A perforated metal mesh.", "perforated", f"mesh/{n}") for n in range(times)]
    assert ("A meshed sheet." not in negatives(pairs, "perforated")) == excluded
    assert ("A perforated sheet." not in negatives(pairs, "meshed")) == excluded
    assert "A dotted sheet." in negatives(pairs, "perforated")


def test_a_kind_or_a_part_of_the_category_is_no_negative():
    names = ("chair", "windsor_chair", "cougar_face", "cougar_body")
    pairs = records(**{name: [f"A {name}."] for name in names})
    assert negatives(pairs, "chair") == {"A cougar face.", "A cougar body."}
    assert negatives(pairs, "cougar face") == {"A chair.", "A windsor chair."}


@pytest.mark.parametrize(("named", "excluded"), [(False, False), (True, True)])
def test_properties_that_the_same_words_describe_are_no_negatives(named, excluded):
    """Where captions name many other categories, too, as textures do."""
    texts = {"dotted": "circles", "spotted": "circles", "striped": "bars", "banded": "bars"}
    texts |= {"woven": "threads", "knitted": "threads", "ribbed": "ridges", "grooved": "ridges"}
    names = list(texts)
    pairs = [
        record(f"A {name} surface with {texts[name]}.", name, n) for name in names for n in range(9)
    ]
    for place, name in enumerate(names if named else ()):
        pairs += [
            record(f"A {name} and {names[place ^ at]} surface.", name, f"{at}/{n}")
            for at in (2, 4)  # never the one with the same words
            for n in range(2)
        ]
    found = negatives(pairs, "dotted", k=7)
    assert ("A spotted surface with circles." not in found) == excluded
    assert not named or any("grooved" in each for each in found)


@pytest.mark.parametrize(("asked", "rules"), [(2, ()), (3, ("negatives_fewer",))])
def test_a_record_with_fewer_negatives_than_asked_is_counted(asked, rules):
    pairs = records(pug=["A pug."], boxer=["A boxer."], van=["A van."])
    config = BuildConfig(seed=0, negatives=asked, attribute_negatives=0)
    found = annotate(pairs, [set() for _ in pairs], make_catalog(pairs), config)
    assert {each.rules for each in found} == {rules}
    assert {len(each.negatives) for each in found} == {2}
