"""Hard negatives to train with: wrong, fresh in every epoch, and drawn from training captions alone."""

from itertools import product

import numpy as np
import pytest
from msgspec.structs import asdict

from benchmark.training.training_negatives import POOL, TrainingNegatives
from fdrd.text.attributes import find_attributes

SHAPES = ("circle", "square", "triangle", "hexagon", "star", "ring", "cross")
TRAINED = SHAPES[:-2]
COLORS = ("red", "green", "blue", "white")
EPOCHS = range(6)


@pytest.fixture
def make_rows(make_row, make_drawing):
    """A drawing of each trained shape in each color, with the attributes of its caption."""

    def rows(caption="a {color} drawing of a {shape} on the left", **given):
        made = []
        for shape in TRAINED:
            for color in COLORS:
                words = caption.format(color=color, shape=shape)
                drawn_as = color.replace("white", "black")  # on paper that is white
                drawing = make_drawing(drawn_as, shape, "left") + shape.encode()  # distinct bytes
                row = make_row(len(made), drawing, words, shape, **given)
                row["attributes"] = [asdict(each) for each in find_attributes(words, shape)]
                made.append(row)
        return made

    return rows


@pytest.fixture
def make(make_dataset):
    return lambda rows: make_dataset(rows, "train", SHAPES)


def drawn(train, k=4, n_attribute=2, seed=0):
    negatives = TrainingNegatives(train, seed)
    for row in range(len(train)):
        for epoch in EPOCHS:
            yield row, negatives.draw(row, epoch, k, n_attribute)


def captions(negatives):
    return [negative.caption for negative in negatives]


def test_no_negative_is_a_caption_of_the_image(make_rows, make):
    """Every image has a second caption in another color: what a swap of the first may come to."""
    rows = make_rows()
    for number, row in enumerate(list(rows)):
        first = row["caption"]
        color = next(each for each in COLORS if each in first)
        second = first.replace(color, COLORS[COLORS.index(color) - 1])
        spans = [asdict(each) for each in find_attributes(second, row["category"])]
        rows.append({**row, "id": f"shapes/again {number}", "caption": second, "attributes": spans})
    train = make(rows)
    mine = {}
    for image, caption in train.pairs.tolist():
        mine.setdefault(image, set()).add(train.captions[caption])
    assert all(len(each) == 2 for each in mine.values())
    for row_number, negatives in drawn(train, k=POOL, n_attribute=POOL // 2):
        assert negatives
        assert mine[int(train.pairs[row_number, 0])].isdisjoint(captions(negatives))


@pytest.mark.parametrize(("k", "n_attribute"), [(4, 0), (4, 1), (4, 2), (1, 0), (1, 1), (2, 2)])
def test_k_of_which_n_attribute_swap_an_attribute(make_rows, make, k, n_attribute):
    """Unless a caption has fewer plausible attribute swaps, whose place categories take."""
    whole, number = 0, 0
    for _, negatives in drawn(make(make_rows()), k, n_attribute):
        kinds = [negative.kind for negative in negatives]
        assert kinds == sorted(kinds, reverse=True)  # categories first
        assert len(set(captions(negatives))) == k
        whole += kinds.count("attribute") == n_attribute
        number += 1
    assert whole > 0.7 * number


def test_where_the_category_is_not_named_attributes_take_their_place_unless_none_were_wanted(
    make_rows, make
):
    plain = make(make_rows("a {color} thing on the left"))
    kinds = [[negative.kind for negative in negatives] for _, negatives in drawn(plain, 2, 1)]
    assert kinds.count(["attribute"] * 2) > 0.5 * len(kinds)
    assert not any("category" in each for each in kinds)
    assert all(not negatives for _, negatives in drawn(plain, 2, 0))


def test_the_pool_of_a_caption_is_fixed(make_rows, make):
    """So that the features of a frozen tower are soon known."""
    seen = {}
    negatives = TrainingNegatives(make(make_rows()), seed=0)
    for row in range(4):
        for epoch in range(60):
            seen.setdefault(row, set()).update(captions(negatives.draw(row, epoch, 4, 2)))
    assert all(4 <= len(each) <= POOL for each in seen.values())


def test_only_seed_row_and_epoch_decide(make_rows, make):
    """Neither the order of drawing nor that of the rows does."""
    train = make(make_rows())
    order = np.random.default_rng(0).permutation(len(train))
    one, other, turned, seeded = (
        TrainingNegatives(*each)
        for each in ((train, 0), (train, 0), (train.select(order), 0), (train, 1))
    )
    forth = {each: one.draw(*each, 4, 2) for each in product(range(len(train)), EPOCHS)}
    assert forth == {each: other.draw(*each, 4, 2) for each in reversed(forth)}
    assert forth != {each: seeded.draw(*each, 4, 2) for each in forth}
    for row, was in enumerate(order.tolist()):
        assert turned.draw(row, 3, 4, 2) == forth[was, 3]


def test_only_trained_categories_are_swapped_in(make_rows, make):
    """The dataset has seven categories, of which five have training rows."""
    train = make(make_rows())
    assert set(SHAPES) == set(train.categories)
    named = {
        negative.category
        for _, negatives in drawn(train, k=POOL, n_attribute=0)
        for negative in negatives
    }
    assert named == set(TRAINED)


def test_the_negatives_of_the_dataset_are_not_used(make_rows, make):
    train = make(make_rows())
    marked = make(make_rows(negatives=[("of evaluation", "star", "category", None)]))
    assert marked.negatives[0]
    assert list(drawn(marked)) == list(drawn(train))


def test_a_category_that_two_domains_name_is_named_as_the_captions_do(make_rows, make_dataset):
    """Class labels are `domain: category` there; captions say the category."""
    rows = make_rows()
    for row in rows:
        row["category"] = f"shapes: {row['category']}"
    labels = [f"shapes: {shape}" for shape in SHAPES]
    clash = make_dataset(rows, "train", labels)
    for _, negatives in drawn(clash, k=1, n_attribute=0):
        assert [negative.kind for negative in negatives] == ["category"]
        assert "shapes:" not in negatives[0].caption
