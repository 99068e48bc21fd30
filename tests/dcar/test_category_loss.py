"""The category-aware loss against numbers worked out by hand."""

from math import exp, log

import pytest
import torch

from dcar.category_loss import category_aware_loss


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


def test_graded_targets_by_hand():
    """Targets 1, .3 and 0, divided by their sum."""
    own, related, _ = log_softmax(30, 29, 28)
    assert loss() == pytest.approx(-(own + 0.3 * related) / 1.3, abs=1e-4)


def test_captions_of_a_category_share_its_relevance():
    """Two of them get .5 each, beside 1 for the own caption."""
    first, second, third = log_softmax(30, 29, 28)
    expected = -(first + 0.5 * second + 0.5 * third) / 2
    assert loss(category=(7, 7, 7), epsilon=1.0) == pytest.approx(expected, abs=1e-4)


def test_epsilon_zero_is_the_plain_softmax():
    assert loss(epsilon=0.0) == pytest.approx(-log_softmax(30, 29, 28)[0], abs=1e-4)


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
    texts, chosen = (
        torch.stack([direction(0.8), direction(0.6)]),
        map(torch.tensor, (category, allowed)),
    )
    found = category_aware_loss(torch.eye(2), texts, *chosen, scale=1.0, epsilon=0.5)
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_negatives_take_no_part_in_the_choice_among_images():
    """One image: 0 for its caption, and a softmax of two for the image itself."""
    chosen = torch.tensor([0, 1]), torch.tensor([[True, True]])
    found = category_aware_loss(IMAGE, CAPTIONS[:2], *chosen, scale=100.0, epsilon=0.3)
    assert found.item() == pytest.approx(log(1 + exp(-1)) / 2, abs=1e-5)
