"""Which captions an image chooses among."""

import pytest

from benchmark.training.loop import batches
from dcar.candidates import CandidateCaptions
from dcar.options import NEGATIVES


@pytest.fixture
def train(make_row, make_dataset, make_drawing):
    """Nine pairs; 0 and 1 show one image, 2 and 3 have one caption."""
    colors = ["red", "red", "green", "blue", "black", "red", "green", "blue", "black"]
    shapes = ["circle"] * 5 + ["square"] * 4
    captions = ["one", "two", "three", "three", "five", "six", "seven", "eight", "nine"]
    rows = [
        make_row(number, make_drawing(color, shape, "left"), caption, shape)
        for number, (color, shape, caption) in enumerate(zip(colors, shapes, captions, strict=True))
    ]
    return make_dataset(rows, "train")


@pytest.fixture
def named(make_row, make_dataset, make_drawing):
    """Six pairs, whose captions name one of six categories."""
    shapes = ["circle", "square", "triangle", "star", "heart", "ring"]
    drawings = [
        make_drawing(color, shape, "left") for color in ("red", "blue") for shape in shapes[:3]
    ]
    rows = [
        make_row(number, drawing, f"a {shape}", shape)
        for number, (drawing, shape) in enumerate(zip(drawings, shapes, strict=True))
    ]
    return make_dataset(rows, "train", shapes)


def drawn(train, rows, seed=0, epoch=0, *, own=False):
    batch = next(
        each
        for order in range(10_000)
        for each in batches(train, len(rows), order, epoch)
        if each.rows.tolist() == rows
    )
    return CandidateCaptions(train, seed, own=own, n_attribute=0).draw(batch)


def test_a_correct_caption_of_another_row_is_no_candidate(train):
    """Row 1 shows the image of row 0; row 3 has the caption of row 2."""
    found = drawn(train, [2, 1, 3, 0])
    assert found.captions == ["three", "two", "three", "one"]  # nothing in them can be swapped
    assert found.allowed.tolist() == [
        [True, True, False, True],
        [True, True, True, False],
        [False, True, True, True],
        [True, False, True, True],
    ]


def test_each_row_brings_its_negatives_and_their_categories(named):
    found = drawn(named, [0, 2])
    first, second = found.captions[2 : 2 + NEGATIVES], found.captions[2 + NEGATIVES :]
    assert len(set(first)) == len(set(second)) == NEGATIVES
    assert "a circle" not in first
    assert "a triangle" not in second
    names = dict(zip(found.captions, found.category.tolist(), strict=True))
    assert len(set(names.values())) == len(names)  # equal numbers for equal captions only
    assert found.allowed.all()


def test_own_candidates_are_those_of_one_image(named):
    allowed = drawn(named, [0, 2], own=True).allowed.tolist()
    yes, no = [True] * NEGATIVES, [False] * NEGATIVES
    assert allowed == [[True, False, *yes, *no], [False, True, *no, *yes]]


def test_candidates_depend_only_on_seed_and_batch(named):
    first = drawn(named, [0, 2]).captions
    assert drawn(named, [0, 2]).captions == first
    others = [
        drawn(named, [0, 2], seed, epoch).captions for seed, epoch in ((0, 1), (1, 0), (2, 0))
    ]
    assert any(other != first for other in others)
