"""Token weights against numbers worked out by hand."""

from math import exp

import pytest
import torch
from torch.nn.functional import normalize

from dcar.token_weights import by_word, similarity_change, token_weights

VALID = torch.tensor([[False, True, True, True, False]])
"""BOS, three tokens, EOS."""


def weights(changes, **options):
    change = torch.tensor([[9.0, *changes, 9.0]])  # what BOS and EOS say must not count
    found = token_weights(change, VALID, **options)
    return [round(weight, 4) for weight in found[0].tolist()]


def test_mean1_by_hand():
    # |change| = .1 .2 .3, mean .2: u = .5 1 1.5, mean 1: w = 1 + (u - 1) / 2
    assert weights([0.1, -0.2, 0.3]) == [1.0, 0.75, 1.0, 1.25, 1.0]


def test_mean1_is_clamped_and_normalized_again():
    # |change| = 0 0 .3, mean .1: u = .5 .5 2 (clamped from 0, 0, 3), mean 1: w = u at beta 1
    assert weights([0.0, 0.0, 0.3], beta=1.0) == [1.0, 0.5, 0.5, 2.0, 1.0]
    # |change| = 0 .3 .3, mean .2: u = .5 1.5 1.5, mean 7/6
    assert weights([0.0, 0.3, 0.3], beta=1.0) == [1.0, 0.4286, 1.2857, 1.2857, 1.0]


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        ("raw", [0.1, 0.2, 0.3]),
        ("minmax", [0.0, 0.5, 1.0]),
        ("softmax", [3 * exp(u) / (exp(0.5) + exp(1.0) + exp(1.5)) for u in (0.5, 1.0, 1.5)]),
        ("cal", [0.75, 1.0, 1.25]),  # the mean of u = .5 1 1.5 over each token and its neighbors
    ],
)
def test_normalizations_by_hand(normalization, expected):
    found = weights([0.1, -0.2, 0.3], normalization=normalization, beta=1.0)
    assert found == pytest.approx([1.0, *expected, 1.0], abs=1e-4)


def test_relu_keeps_tokens_that_the_image_makes_more_similar():
    """relu keeps what the image makes more similar, which is a negative change."""
    assert weights([0.3, -0.3, -0.3], sign="relu", beta=1.0) == [1.0, 0.4286, 1.2857, 1.2857, 1.0]
    assert weights([0.3, -0.3, -0.3], sign="abs", beta=1.0) == [1.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("normalization", ["mean1", "raw", "minmax", "softmax", "cal"])
def test_without_change_or_beta_all_weights_are_one(normalization):
    assert weights([0.0, 0.0, 0.0], normalization=normalization) == [1.0] * 5
    assert weights([0.1, 0.2, 0.3], normalization=normalization, beta=0.0) == [1.0] * 5


def test_weights_have_mean_one_for_any_change():
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(64, 12, generator=generator)
    valid = torch.rand(64, 12, generator=generator) < 0.7
    found = token_weights(change, valid, beta=0.8)
    for row, mask in zip(found, valid, strict=True):
        if mask.any():
            assert row[mask].mean().item() == pytest.approx(1.0, abs=1e-5)
        assert (row[~mask] == 1).all()


def test_the_change_equals_the_difference_of_two_cosines():
    generator = torch.Generator().manual_seed(1)
    tokens = normalize(torch.randn(3, 5, 8, generator=generator), dim=-1)
    images = normalize(torch.randn(3, 8, generator=generator), dim=-1)
    blank = normalize(torch.randn(8, generator=generator), dim=-1)
    found = similarity_change(tokens, images, blank, "global")
    for row in range(3):
        for place in range(5):
            expected = tokens[row, place] @ blank - tokens[row, place] @ images[row]
            assert found[row, place].item() == pytest.approx(expected.item(), abs=1e-6)


def test_patches_are_compared_by_maximum_or_mean():
    token = torch.tensor([[[1.0, 0.0]]])
    patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    blank = torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    assert similarity_change(token, patches, blank, "patch_max").item() == pytest.approx(-0.2)
    assert similarity_change(token, patches, blank, "patch_mean").item() == pytest.approx(0.2)


def test_tokens_of_a_word_share_their_mean():
    words = torch.tensor([[-1, 0, 1, 1, -1]])
    change = torch.tensor([[7.0, 2.0, 1.0, -3.0, 7.0]])
    assert by_word(change, words)[0, 1:4].tolist() == [2.0, -1.0, -1.0]
