"""Token weights against numbers worked out by hand."""

import pytest
import torch
from torch.nn.functional import normalize

from dcar.token_weights import similarity_change, token_weights

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


def test_the_change_equals_the_difference_of_two_cosines():
    generator = torch.Generator().manual_seed(1)
    tokens = normalize(torch.randn(3, 5, 8, generator=generator), dim=-1)
    images = normalize(torch.randn(3, 8, generator=generator), dim=-1)
    blank = normalize(torch.randn(8, generator=generator), dim=-1)
    found = similarity_change(tokens, images, blank)
    for row in range(3):
        for place in range(5):
            expected = tokens[row, place] @ blank - tokens[row, place] @ images[row]
            assert found[row, place].item() == pytest.approx(expected.item(), abs=1e-6)
