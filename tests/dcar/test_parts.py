"""Parts of DCAR: token weights and the category-aware loss worked out by hand, and which captions are candidates."""

from math import exp, log

import pytest
import torch

from benchmark.training.loop import batches
from dcar.candidates import CandidateCaptions
from dcar.category_loss import category_aware_loss
from dcar.options import NEGATIVES
from dcar.token_weights import token_weights

VALID = torch.tensor([[False, True, True, True, False]])
"""BOS, three tokens, EOS."""


def weights(changes, beta=0.5):
    change = torch.tensor([[9.0, *changes, 9.0]])  # what BOS and EOS say must not count
    return [round(weight, 4) for weight in token_weights(change, VALID, beta)[0].tolist()]


def test_weights_by_hand():
    # |change| = .1 .2 .3, mean .2: u = .5 1 1.5, mean 1: w = 1 + (u - 1) / 2
    assert weights([0.1, -0.2, 0.3]) == [1.0, 0.75, 1.0, 1.25, 1.0]


def test_shares_are_clamped_and_normalized_again():
    # |change| = 0 0 .3, mean .1: u = .5 .5 2 (clamped from 0, 0, 3), mean 1: w = u at beta 1
    assert weights([0.0, 0.0, 0.3], beta=1.0) == [1.0, 0.5, 0.5, 2.0, 1.0]
    # |change| = 0 .3 .3, mean .2: u = .5 1.5 1.5, mean 7/6
    assert weights([0.0, 0.3, 0.3], beta=1.0) == [1.0, 0.4286, 1.2857, 1.2857, 1.0]


def test_without_change_or_beta_all_weights_are_one():
    assert weights([0.0, 0.0, 0.0]) == [1.0] * 5
    assert weights([1e-5, -1e-5, 1e-5]) == [1.0] * 5  # rounding
    assert weights([1e-5, -1e-5, 4e-5]) != [1.0] * 5
    assert weights([0.1, 0.2, 0.3], beta=0.0) == [1.0] * 5


def test_weights_have_mean_one_for_any_change():
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(64, 12, generator=generator)
    valid = torch.rand(64, 12, generator=generator) < 0.7
    found = token_weights(change, valid, beta=0.8)
    for row, mask in zip(found, valid, strict=True):
        if mask.any():
            assert row[mask].mean().item() == pytest.approx(1.0, abs=1e-5)
        assert (row[~mask] == 1).all()


def direction(cosine):
    return torch.tensor([cosine, (1 - cosine**2) ** 0.5])


IMAGE = torch.tensor([[1.0, 0.0]])
CAPTIONS = torch.stack([direction(0.3), direction(0.29), direction(0.28)])
"""The image's own, an attribute swap, which keeps category 7, and a category swap to 9."""


def loss(allowed=(True, True, True), category=(7, 7, 9), epsilon=0.3):
    """Twice the loss: with a single image, the choice of its caption among the images costs nothing."""
    chosen = torch.tensor(category), torch.tensor([allowed])
    return 2 * category_aware_loss(IMAGE, CAPTIONS, *chosen, scale=100.0, epsilon=epsilon).item()


def log_softmax(*logits):
    total = log(sum(map(exp, logits)))
    return [each - total for each in logits]


def test_only_allowed_captions_count():
    assert loss((True, False, False)) == 0
    assert loss((True, False, True)) == pytest.approx(-log_softmax(30, 28)[0], abs=1e-4)


@pytest.mark.parametrize(
    ("allowed", "category", "expected"),
    [
        # Caption 1 has similarities 0.8 and 0.6 with the images, caption 2 has 0.6 and 0.8.
        ([[True, True], [True, True]], [0, 1], log(1 + exp(-0.2))),
        ([[True, False], [False, True]], [0, 0], 0.0),  # equal captions, say
        # Targets 1 and .5 for two images of one category.
        ([[True, True], [True, True]], [0, 0], log(1 + exp(-0.2)) + 0.2 / 3),
    ],
)
def test_captions_choose_among_images_as_images_among_captions(allowed, category, expected):
    texts = torch.stack([direction(0.8), direction(0.6)])
    chosen = map(torch.tensor, (category, allowed))
    found = category_aware_loss(torch.eye(2), texts, *chosen, scale=1.0, epsilon=0.5)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_negatives_take_no_part_in_the_choice_among_images():
    """One image: 0 for its caption, and a softmax of two for the image itself."""
    chosen = torch.tensor([0, 1]), torch.tensor([[True, True]])
    found = category_aware_loss(IMAGE, CAPTIONS[:2], *chosen, scale=100.0, epsilon=0.3)
    assert found.item() == pytest.approx(log(1 + exp(-1)) / 2, abs=1e-5)


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
