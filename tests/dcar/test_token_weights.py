"""Token weights against numbers worked out by hand."""

import pytest
import torch
from torch.nn.functional import normalize

from dcar.token_weights import by_word, similarity_change, token_weights

VALID = torch.tensor([[False, True, True, True, False]])
"""BOS, three tokens, EOS."""


def weights(changes: list[float], **options: object) -> list[float]:
    change = torch.tensor([[9.0, *changes, 9.0]])  # what BOS and EOS say must not count
    found = token_weights(change, VALID, **options)  # type: ignore[arg-type]
    return [round(weight, 4) for weight in found[0].tolist()]


def test_mean1_by_hand() -> None:
    # |change| = .1 .2 .3, mean .2: u = .5 1 1.5, mean 1: w = 1 + (u - 1) / 2
    assert weights([0.1, -0.2, 0.3]) == [1.0, 0.75, 1.0, 1.25, 1.0]


def test_mean1_is_clamped_and_brought_to_mean_one_again() -> None:
    # |change| = 0 0 .3, mean .1: u = .5 .5 2 (clamped from 0, 0, 3), mean 1: w = u at beta 1
    assert weights([0.0, 0.0, 0.3], beta=1.0) == [1.0, 0.5, 0.5, 2.0, 1.0]
    # |change| = 0 .3 .3, mean .2: u = .5 1.5 1.5, mean 7/6
    assert weights([0.0, 0.3, 0.3], beta=1.0) == [1.0, 0.4286, 1.2857, 1.2857, 1.0]


def test_the_sign() -> None:
    """relu keeps what the image makes more similar, which is a negative change."""
    assert weights([0.3, -0.3, -0.3], sign="relu", beta=1.0) == [1.0, 0.4286, 1.2857, 1.2857, 1.0]
    assert weights([0.3, -0.3, -0.3], sign="abs", beta=1.0) == [1.0, 1.0, 1.0, 1.0, 1.0]


def test_raw_is_the_change_itself() -> None:
    assert weights([0.1, -0.2, 0.3], normalisation="raw", beta=1.0) == [1.0, 0.1, 0.2, 0.3, 1.0]


def test_minmax_by_hand() -> None:
    assert weights([0.1, 0.2, 0.3], normalisation="minmax", beta=1.0) == [1.0, 0.0, 0.5, 1.0, 1.0]


def test_softmax_by_hand() -> None:
    odds = torch.tensor([0.5, 1.0, 1.5]).softmax(0) * 3
    expected = [1.0, *[round(value, 4) for value in odds.tolist()], 1.0]
    assert weights([0.1, 0.2, 0.3], normalisation="softmax", beta=1.0) == expected


def test_cal_averages_neighbours() -> None:
    # u = .5 1 1.5; averaged over what lies beside it: .75 1 1.25
    assert weights([0.1, 0.2, 0.3], normalisation="cal", beta=1.0) == [1.0, 0.75, 1.0, 1.25, 1.0]


@pytest.mark.parametrize("normalisation", ["mean1", "raw", "minmax", "softmax", "cal"])
def test_no_change_and_no_beta_are_no_weights(normalisation: str) -> None:
    assert weights([0.0, 0.0, 0.0], normalisation=normalisation) == [1.0] * 5
    assert weights([0.1, 0.2, 0.3], normalisation=normalisation, beta=0.0) == [1.0] * 5


def test_mean_one_for_any_change() -> None:
    generator = torch.Generator().manual_seed(0)
    change = torch.randn(64, 12, generator=generator)
    valid = torch.rand(64, 12, generator=generator) < 0.7
    found = token_weights(change, valid, beta=0.8)
    for row, mask in zip(found, valid, strict=True):
        if mask.any():
            assert row[mask].mean().item() == pytest.approx(1.0, abs=1e-5)
        assert (row[~mask] == 1).all()


def test_the_change_is_one_dot_product_and_equals_two_cosines() -> None:
    generator = torch.Generator().manual_seed(1)
    tokens = normalize(torch.randn(3, 5, 8, generator=generator), dim=-1)
    images = normalize(torch.randn(3, 8, generator=generator), dim=-1)
    blank = normalize(torch.randn(8, generator=generator), dim=-1)
    found = similarity_change(tokens, images, blank, "global")
    for row in range(3):
        for place in range(5):
            expected = tokens[row, place] @ blank - tokens[row, place] @ images[row]
            assert found[row, place].item() == pytest.approx(expected.item(), abs=1e-6)


def test_patches_are_compared_by_their_best_or_their_mean() -> None:
    token = torch.tensor([[[1.0, 0.0]]])
    patches = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    blank = torch.tensor([[0.6, 0.8], [0.8, 0.6]])
    assert similarity_change(token, patches, blank, "patch_max").item() == pytest.approx(-0.2)
    assert similarity_change(token, patches, blank, "patch_mean").item() == pytest.approx(0.2)


def test_pieces_of_a_word_share_its_mean() -> None:
    words = torch.tensor([[-1, 0, 1, 1, -1]])
    change = torch.tensor([[7.0, 2.0, 1.0, -3.0, 7.0]])
    assert by_word(change, words)[0, 1:4].tolist() == [2.0, -1.0, -1.0]
