"""The category-aware loss against numbers worked out by hand."""

from math import exp, log

import pytest
import torch

from dcar.category_loss import CandidateTexts, category_aware_loss


def direction(cosine):
    return torch.tensor([cosine, (1 - cosine**2) ** 0.5])


IMAGE = torch.tensor([[1.0, 0.0]])
CAPTIONS = torch.stack([direction(0.3), direction(0.29), direction(0.28)])
"""The image's own, an attribute swap, which keeps category 7, and a category swap to 9."""


def loss(allowed=(True, True, True), **options):
    texts = CandidateTexts(CAPTIONS, torch.tensor([7, 7, 9]), torch.tensor([allowed]))
    return category_aware_loss(IMAGE, texts, **{"scale": 100.0, "alpha": 0.5, **options}).item()


def softmax(*logits):
    total = sum(map(exp, logits))
    return [exp(each) / total for each in logits]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("log_add", -log(1.5 * exp(30) / (1.5 * exp(30) + 1.5 * exp(29) + exp(28)))),
        ("logit", -log(exp(45) / (exp(45) + exp(43.5) + exp(28)))),
        ("loss", (1.5 * log(1 + exp(-1)) + log(1 + exp(-2))) / 2.5),
        # Targets 1, .2 * 1.5 and 0, divided by their sum.
        ("graded", -(log(softmax(30, 29, 28)[0]) + 0.3 * log(softmax(30, 29, 28)[1])) / 1.3),
        # Margins 0, .2 and .2 * 1.5, times the scale.
        ("margin", -log(softmax(30, 29 + 20, 28 + 30)[0])),
    ],
)
def test_each_mode_by_hand(mode, expected):
    assert loss(mode=mode, epsilon=0.2) == pytest.approx(expected, abs=1e-4)


def test_captions_of_a_category_share_its_relevance():
    """Two of them get .5 * (1 + 1) / 2 each, beside 1 for the own caption."""
    texts = CandidateTexts(CAPTIONS, torch.tensor([7, 7, 7]), torch.tensor([[True] * 3]))
    options = {"scale": 100.0, "alpha": 1.0, "mode": "graded", "epsilon": 0.5}
    first, second, third = map(log, softmax(30, 29, 28))
    expected = -(first + 0.5 * second + 0.5 * third) / 2
    assert category_aware_loss(IMAGE, texts, **options).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["log_add", "logit", "graded", "margin"])
def test_alpha_and_epsilon_zero_is_the_plain_softmax(mode):
    expected = -log(softmax(30, 29, 28)[0])
    assert loss(mode=mode, alpha=0.0, epsilon=0.0) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["log_add", "logit", "loss", "graded", "margin"])
def test_only_allowed_captions_count(mode):
    assert loss((True, False, False), mode=mode) == 0
    assert loss((True, True, False), alpha=0.0) == pytest.approx(log(1 + exp(-1)), abs=1e-4)


def test_every_image_weighs_the_captions_of_its_own_category():
    texts = CandidateTexts(
        torch.stack([direction(0.8), direction(0.6), direction(0.7), direction(0.1)]),
        torch.tensor([0, 1, 1, 1]),
        torch.ones(2, 4, dtype=torch.bool),
    )
    found = category_aware_loss(torch.eye(2), texts, scale=1.0, alpha=1.0)

    def sine(cosine):
        return (1 - cosine**2) ** 0.5

    first = -log(2 * exp(0.8) / (2 * exp(0.8) + exp(0.6) + exp(0.7) + exp(0.1)))
    second = -log(
        2 * exp(sine(0.6))
        / (exp(sine(0.8)) + 2 * exp(sine(0.6)) + 2 * exp(sine(0.7)) + 2 * exp(sine(0.1)))
    )  # fmt: skip
    assert found.item() == pytest.approx((first + second) / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("allowed", "mode", "to_image"),
    [
        # Caption 1 has similarities 0.8 and 0.6 with the images, caption 2 has 0.6 and 0.8.
        ([[True, True], [True, True]], "log_add", log(1 + exp(-0.2))),
        ([[True, False], [False, True]], "log_add", 0.0),  # equal captions, say
        # Targets 1 and .5 for two images of one category.
        ([[True, True], [True, True]], "graded", log(1 + exp(-0.2)) + 0.2 / 3),
    ],
)
def test_symmetric_adds_the_choice_of_captions_among_images(allowed, mode, to_image):
    texts = CandidateTexts(
        torch.stack([direction(0.8), direction(0.6)]), torch.tensor([0, 0]), torch.tensor(allowed)
    )
    options = {"scale": 1.0, "alpha": 0.0, "mode": mode, "epsilon": 0.5}
    one = category_aware_loss(torch.eye(2), texts, **options)
    both = category_aware_loss(torch.eye(2), texts, symmetric=True, **options)
    assert both.item() == pytest.approx((one.item() + to_image) / 2, abs=1e-5)
