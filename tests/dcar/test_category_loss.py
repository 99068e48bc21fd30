"""The category-aware loss against numbers worked out by hand."""

from math import exp, log

import pytest
import torch

from dcar.category_loss import ExtraTexts, category_aware_loss


def direction(cosine):
    return torch.tensor([cosine, (1 - cosine**2) ** 0.5])


IMAGE = torch.tensor([[1.0, 0.0]])
POSITIVE = direction(0.3)[None]
NEGATIVES = torch.stack([direction(0.29), direction(0.28)])[None]
"""An attribute swap, which keeps category 7, and a category swap to 9."""
PRESENT = torch.tensor([[True, True]])
OWN, OTHERS = torch.tensor([7]), torch.tensor([[7, 9]])


def loss(**options):
    settings = {"scale": 100.0, "alpha": 0.5, **options}
    return category_aware_loss(IMAGE, POSITIVE, NEGATIVES, PRESENT, OWN, OTHERS, **settings).item()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("log_add", -log(1.5 * exp(30) / (1.5 * exp(30) + 1.5 * exp(29) + exp(28)))),
        ("logit", -log(exp(45) / (exp(45) + exp(43.5) + exp(28)))),
        ("loss", (1.5 * log(1 + exp(-1)) + log(1 + exp(-2))) / 2.5),
    ],
)
def test_each_mode_by_hand(mode, expected):
    assert loss(mode=mode) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("mode", ["log_add", "logit"])
def test_alpha_zero_is_the_plain_softmax(mode):
    expected = -log(exp(30) / (exp(30) + exp(29) + exp(28)))
    assert loss(mode=mode, alpha=0.0) == pytest.approx(expected, abs=1e-4)


def test_a_missing_negative_does_not_count():
    present = torch.tensor([[True, False]])
    found = category_aware_loss(
        IMAGE, POSITIVE, NEGATIVES, present, OWN, OTHERS, scale=100.0, alpha=0.0
    )
    assert found.item() == pytest.approx(log(1 + exp(-1)), abs=1e-4)


@pytest.mark.parametrize("mode", ["log_add", "logit", "loss"])
def test_without_negatives_it_is_zero(mode):
    none = category_aware_loss(
        IMAGE,
        POSITIVE,
        NEGATIVES[:, :0],
        PRESENT[:, :0],
        OWN,
        OTHERS[:, :0],
        scale=100.0,
        mode=mode,
    )
    assert none.item() == 0


def test_in_batch_every_image_chooses_from_all_captions():
    images = torch.eye(2)
    positives = torch.stack([direction(0.8), direction(0.6)])
    negatives = torch.stack([direction(0.7)[None], direction(0.1)[None]])
    found = category_aware_loss(
        images,
        positives,
        negatives,
        torch.tensor([[True], [True]]),
        torch.tensor([0, 1]),
        torch.tensor([[1], [1]]),
        scale=1.0,
        alpha=1.0,
        candidates="in_batch",
    )

    def sine(cosine):
        return (1 - cosine**2) ** 0.5

    # The categories of the four captions are 0, 1, 1, 1: each image doubles those of its own.
    first = -log(2 * exp(0.8) / (2 * exp(0.8) + exp(0.6) + exp(0.7) + exp(0.1)))
    second = -log(
        2 * exp(sine(0.6))
        / (exp(sine(0.8)) + 2 * exp(sine(0.6)) + 2 * exp(sine(0.7)) + 2 * exp(sine(0.1)))
    )  # fmt: skip
    assert found.item() == pytest.approx((first + second) / 2, abs=1e-5)


def test_extra_captions_are_candidates_unless_correct():
    extra = ExtraTexts(
        torch.stack([direction(0.5), direction(0.9)]),
        torch.tensor([7, 9]),
        torch.tensor([[True, False]]),
    )
    found = category_aware_loss(
        IMAGE, POSITIVE, NEGATIVES, PRESENT, OWN, OTHERS,
        scale=1.0, alpha=0.5, candidates="train", extra=extra,
    )  # fmt: skip
    own = 1.5 * exp(0.3)
    expected = -log(own / (own + 1.5 * exp(0.29) + exp(0.28) + 1.5 * exp(0.5)))
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_symmetric_adds_the_choice_of_captions_among_images():
    images, positives = torch.eye(2), torch.stack([direction(0.8), direction(0.6)])
    nothing = torch.zeros(2, 0, 2), torch.zeros(2, 0, dtype=torch.bool)
    category = torch.tensor([0, 1]), torch.zeros(2, 0, dtype=torch.long)
    found = category_aware_loss(
        images, positives, *nothing, *category, scale=1.0, alpha=0.0, symmetric=True
    )
    # Own candidates without negatives give 0; caption 1 has 0.8 and 0.6, caption 2 0.6 and 0.8.
    expected = log(1 + exp(-0.2)) / 2
    assert found.item() == pytest.approx(expected, abs=1e-5)
